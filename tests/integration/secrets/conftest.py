"""Services whose every credential can be told by a word in it, as processes of which every line is kept."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from common.serving import serving
from common.tls import verify
from deploy.local.ports import LOOPBACK, choose_ports
from deploy.local.stores import Stores
from tests.fakes.embedder_server import EmbedderServer
from tests.fakes.qdrant_server import QdrantServer
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.forked import fork

MARK = "hush"
"""In every piece of every secret, so that a part of one, in whatever encoding, is found as well."""
SECRET = f"{MARK}@{MARK}/{MARK}:{MARK}%{MARK}"
"""What makes parsers stumble, and has to be percent-encoded in an address."""
USER = "keeper"

_START_S = 180
_buckets = count(1)

AssertDiscreet = Callable[[str], None]


@pytest.fixture
def assert_discreet(stores: Stores) -> AssertDiscreet:
    """Asserts that none of the credentials is in a text, which is none that says nothing."""
    secrets = (MARK, stores.s3_secret_key)

    def check(output: str) -> None:
        assert output.strip()
        told = [line for line in output.splitlines() if any(secret in line.lower() for secret in secrets)]
        assert told == []

    return check


@pytest.fixture
async def guarded_database(stores: Stores, database_url: str) -> str:
    """The address of the test's database for a user with the secret for a password."""
    await execute(
        database_url,
        f"DO $$ BEGIN CREATE ROLE {USER} LOGIN SUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"ALTER ROLE {USER} PASSWORD '{SECRET}'",
    )
    return with_user(database_url)


@pytest.fixture
async def guarded_redis(stores: Stores) -> str:
    """The address of Redis for a user with the secret for a password."""
    await set_redis_password(stores, SECRET)
    return with_user(stores.redis_url)


async def set_redis_password(stores: Stores, password: str) -> None:
    """Change the user's password, and cut the user off."""
    async with Redis.from_url(stores.redis_url) as admin:
        await admin.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{password}", "~*", "&*", "+@all")
        await admin.execute_command("CLIENT", "KILL", "USER", USER)


async def execute(url: str, *statements: str) -> None:
    """Run statements as the stores' own user."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def with_user(url: str, password: str = SECRET) -> str:
    """Return the address for the user with the secret."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{USER}:{quote(password, safe='')}@{parts.hostname}:{parts.port}").geturl()


@dataclass(frozen=True, slots=True)
class Lines:
    """The line to each store."""

    database: FaultProxy
    redis: FaultProxy
    storage: FaultProxy


@pytest.fixture
async def lines(stores: Stores) -> AsyncIterator[Lines]:
    urls = (stores.database_url, stores.redis_url, stores.s3_endpoint)
    async with AsyncExitStack() as stack:
        yield Lines(*[await stack.enter_async_context(FaultProxy(urlsplit(url).port or 0)) for url in urls])


@pytest.fixture
async def fakes() -> AsyncIterator[dict[str, str]]:
    """The addresses of an embedder and a vector index, as settings."""
    embedder, vectors = choose_ports(2)
    async with (
        serving(EmbedderServer().app(), LOOPBACK, embedder),
        serving(QdrantServer().app(), LOOPBACK, vectors),
    ):
        yield {"EMBEDDER__URL": f"http://{LOOPBACK}:{embedder}", "QDRANT__URL": f"http://{LOOPBACK}:{vectors}"}


@pytest.fixture
def settings(
    stores: Stores, lines: Lines, fakes: dict[str, str], guarded_database: str, guarded_redis: str
) -> dict[str, str]:
    """The environment of talkative services, with lines to the stores that can break."""
    return {
        **fakes,
        "DATABASE__URL": _through(guarded_database, lines.database),
        "DATABASE__CONNECT_TIMEOUT_S": "2",
        "REDIS__URL": _through(guarded_redis, lines.redis),
        "S3__ENDPOINT": _through(stores.s3_endpoint, lines.storage),
        "S3__ACCESS_KEY": stores.s3_access_key,
        "S3__SECRET_KEY": stores.s3_secret_key,
        "S3__BUCKET": f"secrets-{next(_buckets)}",
        "QDRANT__API_KEY": SECRET,
        "WORKER__SWEEP_INTERVAL_S": "0.5",
        "WORKER__DECODE_PROCESSES": "1",
        "WORKER__STOP_GRACE_S": "1",
        "BREAKERS__PAUSE_S": "0.2",
        "LOG__LEVEL": "DEBUG",
        "LOG__FORMAT": "json",
    }


def _through(url: str, line: FaultProxy) -> str:
    return url.replace(f":{urlsplit(url).port}", f":{line.port}")


class Service:
    """One process; `output` is all it has said."""

    def __init__(self, module: str, settings: dict[str, str], folder: Path) -> None:
        (port,) = choose_ports(1)
        self.url = f"http://{LOOPBACK}:{port}"
        self._module = module
        self._environment = {**os.environ, **settings, "HTTP__PORT": str(port), "WORKER__HEALTH_PORT": str(port)}
        self._file = folder / f"{module}.log"
        self._process: ForkServerProcess | None = None

    @property
    def output(self) -> str:
        return self._file.read_text(errors="replace")

    def start(self) -> None:
        """Start it; it need not come far."""
        self._file.touch()
        self._process = fork(self._module, self._environment, self._file)

    async def wait(self) -> int:
        """Wait until it has ended by itself; return its status."""
        assert self._process is not None
        await asyncio.to_thread(self._process.join, _START_S)
        assert self._process.exitcode is not None, "it does not end"
        return self._process.exitcode

    async def stop(self) -> None:
        """End it as an operator does."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            await self.wait()

    async def until_ready(self) -> None:
        """Wait until it has all it needs."""
        async with asyncio.timeout(_START_S), httpx.AsyncClient(trust_env=False, verify=verify(self.url)) as client:
            while True:
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/ready", timeout=60)).is_success:
                        return
                self._assert_running()
                await asyncio.sleep(0.05)

    async def until_said(self, words: str) -> None:
        """Wait until these words are in its output, of which it has to live to tell."""
        async with asyncio.timeout(_START_S):
            while words not in self.output:
                self._assert_running()
                await asyncio.sleep(0.05)

    def _assert_running(self) -> None:
        assert self._process is not None
        assert self._process.is_alive(), self.output[-2000:]


CreateService = Callable[..., Service]


@pytest.fixture
async def create_service(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[CreateService]:
    """Makes services that are not started yet, with some settings changed; they are stopped after the test."""
    made: list[Service] = []

    def create(module: str, **changed: str) -> Service:
        made.append(Service(module, settings | changed, tmp_path))
        return made[-1]

    yield create
    for service in made:
        await service.stop()
