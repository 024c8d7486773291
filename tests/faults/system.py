"""A whole Likeness under test: real stores, api and two workers, each a process, a breakable line before each store."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from common.db.migrate import upgrade
from common.tls import verify
from deploy.local.home import Home
from deploy.local.launcher import Launcher
from deploy.local.lock import locked
from deploy.local.ports import LOOPBACK, choose_ports
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.seaweedfs import SeaweedFS
from deploy.local.stores import Stores
from tests.faults.boundaries import Orders
from tests.faults.processes import Module, Process
from tests.faults.worker_build import CLOCK_SIGNAL, NUMBER, ORDERS
from tests.fixtures.fault_proxy import FaultProxy

LEASE_S = 4.0
SWEEP_S = 1.0

# Deadlines are short, so that an outage of seconds is one.
_SETTINGS = {
    "WORKER__LEASE_S": f"{LEASE_S}",
    "WORKER__SWEEP_INTERVAL_S": f"{SWEEP_S}",
    "WORKER__STOP_GRACE_S": "2",
    "WORKER__DECODE_PROCESSES": "1",
    "WORKER__IMAGES_IN_FLIGHT": "16",
    "DATABASE__POOL_SIZE": "5",
    "DATABASE__CONNECT_TIMEOUT_S": "2",
    "DATABASE__COMMAND_TIMEOUT_S": "3",
    "S3__READ_TIMEOUT_S": "1",
    "EMBEDDER__TIMEOUT_S": "2",
    "QDRANT__TIMEOUT_S": "1",
    "LOG__FORMAT": "json",
}


@dataclass(frozen=True, slots=True)
class Lines:
    """The line to each store and to the embedder."""

    database: FaultProxy
    redis: FaultProxy
    storage: FaultProxy
    vectors: FaultProxy
    embedder: FaultProxy

    def all(self) -> tuple[FaultProxy, ...]:
        """Return every line."""
        return self.database, self.redis, self.storage, self.vectors, self.embedder


@dataclass(slots=True)
class System:
    """What runs. Tests break it, `calm` mends it."""

    stores: Stores
    lines: Lines
    orders: Orders
    client: httpx.AsyncClient
    postgres: Process[Postgres]
    redis: Process[Redis]
    seaweedfs: Process[SeaweedFS]
    vectors: Process[Module]
    embedder: Process[Module]
    api: Process[Module]
    workers: list[Process[Module]]
    vectors_url: str
    embedder_url: str
    shifted: set[int] = field(default_factory=set)
    """Workers whose clock may be wrong."""

    def processes(self) -> list[Process[Any]]:
        """Return every process, in the order of their start."""
        stores: list[Process[Any]] = [self.postgres, self.redis, self.seaweedfs, self.vectors, self.embedder]
        return [*stores, self.api, *self.workers]

    async def script(self, url: str, **script: object) -> None:
        """Tell one of the scripted servers how to behave, past its line."""
        async with httpx.AsyncClient(trust_env=False, verify=verify(url)) as client:
            (await client.put(f"{url}/script", json=script)).raise_for_status()

    async def answer(self, answer: str) -> None:
        """Have the embedder answer pixels like this from now on."""
        await self.script(self.embedder_url, answer=answer)

    async def calm(self) -> None:
        """Undo every fault: processes run, lines are good, nobody has orders."""
        self.orders.clear()
        for number in [number for number in self.shifted if self.workers[number].alive]:
            self.shift_clock(number, 0)
        self.shifted.clear()
        for line in self.lines.all():
            await line.heal()
        for process in self.processes():
            if process.alive:
                process.resume()
                process.lift_limit()
            else:
                await process.start()
        await self.answer("right")
        await self.script(self.vectors_url, torn_upserts=0)

    def shift_clock(self, number: int, seconds: float) -> None:
        """Have a worker's wall clock jump: it is off by so many seconds from now on."""
        self.shifted.add(number)
        self.orders.set_clock(number, seconds)
        self.workers[number].process().send_signal(CLOCK_SIGNAL)


def create_worker(number: int, launcher: Launcher, settings: Mapping[str, str]) -> Process[Module]:
    """Return a worker of the test build, not started."""
    (port,) = choose_ports(1)
    own = {**settings, "WORKER__HEALTH_PORT": str(port), NUMBER: str(number)}
    return Process(Module(f"worker-{number}", "tests.faults.worker_build", port, own), launcher)


def through(url: str, line: FaultProxy) -> str:
    """Return the address with the line's port."""
    parts = urlsplit(url)
    assert parts.port is not None
    return url.replace(f"{LOOPBACK}:{parts.port}", f"{LOOPBACK}:{line.port}")


@asynccontextmanager
async def running_system(path: Path) -> AsyncIterator[System]:
    """Run everything while inside; nothing is left afterwards."""
    async with AsyncExitStack() as stack:
        home = Home(path, min_free_bytes=0)
        launcher = Launcher(home.logs, await stack.enter_async_context(locked(home, "tests")))
        system = await _assemble(home, launcher, stack)
        stack.push_async_callback(_stop, system)
        others = (system.redis, system.seaweedfs, system.vectors, system.embedder)
        await asyncio.gather(_start_database(system), *(process.start() for process in others))
        await asyncio.gather(*(process.start() for process in (system.api, *system.workers)))
        yield system


async def _start_database(system: System) -> None:
    await system.postgres.start()
    await asyncio.to_thread(upgrade, system.stores.database_url)


async def _assemble(home: Home, launcher: Launcher, stack: AsyncExitStack) -> System:
    stores = Stores(home)
    vectors_port, embedder_port, api_port = choose_ports(3)
    vectors_url, embedder_url = f"http://{LOOPBACK}:{vectors_port}", f"http://{LOOPBACK}:{embedder_port}"
    urls = [stores.database_url, stores.redis_url, stores.s3_endpoint, vectors_url, embedder_url]
    lines = Lines(*[await stack.enter_async_context(FaultProxy(urlsplit(url).port or 0)) for url in urls])
    orders = Orders(home.folder("orders"))
    settings = {
        **_SETTINGS,
        **stores.environment(),
        "DATABASE__URL": through(stores.database_url, lines.database),
        "REDIS__URL": through(stores.redis_url, lines.redis),
        "S3__ENDPOINT": through(stores.s3_endpoint, lines.storage),
        "QDRANT__URL": through(vectors_url, lines.vectors),
        "EMBEDDER__URL": through(embedder_url, lines.embedder),
        "HTTP__PORT": str(api_port),
        ORDERS: str(orders.folder),
    }
    api = Module("api", "api.main", api_port, settings)
    client = httpx.AsyncClient(base_url=api.url, timeout=60, trust_env=False)
    vectors = Module("vectors", "tests.fakes.qdrant_server", vectors_port, {}, str(vectors_port))
    embedder = Module("embedder", "tests.fakes.embedder_server", embedder_port, {}, str(embedder_port))
    return System(
        stores=stores,
        lines=lines,
        orders=orders,
        client=await stack.enter_async_context(client),
        postgres=Process(stores.postgres, launcher),
        redis=Process(stores.redis, launcher),
        seaweedfs=Process(stores.seaweedfs, launcher),
        vectors=Process(vectors, launcher),
        embedder=Process(embedder, launcher),
        api=Process(api, launcher),
        workers=[create_worker(number, launcher, settings) for number in range(2)],
        vectors_url=vectors_url,
        embedder_url=embedder_url,
    )


async def _stop(system: System) -> None:
    """Stop the services first; what hangs on a fault is killed by its guard after its grace."""
    for process in system.processes():
        if process.alive:
            process.resume()
    await asyncio.gather(*(process.stop() for process in system.processes()[3:]))
    await asyncio.gather(*(process.stop() for process in system.processes()[:3]))
