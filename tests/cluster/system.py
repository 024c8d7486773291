"""A cluster under test: two processes of each service, as `make cluster` starts them, on the tests' stores."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.cluster.services import create_apis, create_vectors, create_workers
from deploy.local.home import Home
from deploy.local.launcher import Launcher
from deploy.local.lock import locked
from deploy.local.ports import choose_ports
from deploy.local.services import PythonService
from deploy.local.stores import Stores
from tests.cluster.balancer import Balancer
from tests.faults.processes import Module, Process

LEASE_S = 4.0
NUMBER = 2
"""Processes of each service."""

_SETTINGS = {
    "HTTP__DRAIN_S": "2",  # five times as long as the balancer takes to notice
    "WORKER__LEASE_S": f"{LEASE_S}",
    "WORKER__SWEEP_INTERVAL_S": "1",
    "WORKER__STOP_GRACE_S": "5",
    "WORKER__DECODE_PROCESSES": "1",
    "WORKER__IMAGES_IN_FLIGHT": "4",
    "DATABASE__POOL_SIZE": "5",
    "BREAKERS__PAUSE_S": "0.5",
    "LOG__FORMAT": "json",
}


@dataclass(frozen=True, slots=True)
class Reach:
    """How the stores are reached; see `tests.faults.judged`."""

    database_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """What runs."""

    stores: Reach
    vectors_url: str
    balancer: Balancer
    client: httpx.AsyncClient
    """Of all apis, through the balancer."""
    vectors: Process[PythonService]
    embedders: list[Process[PythonService]]
    workers: list[Process[PythonService]]
    apis: list[Process[PythonService]]

    def processes(self) -> list[Process[PythonService]]:
        """Return every process."""
        return [self.vectors, *self.embedders, *self.workers, *self.apis]


@asynccontextmanager
async def running_cluster(path: Path, stores: Stores, database_url: str, bucket: str) -> AsyncIterator[Cluster]:
    """Run everything while inside; nothing is left afterwards."""
    async with AsyncExitStack() as stack:
        home = Home(path, min_free_bytes=0)
        launcher = Launcher(home.logs, await stack.enter_async_context(locked(home, "tests")))
        cluster = _create(
            home,
            launcher,
            stores,
            Reach(database_url, stores.s3_endpoint, stores.s3_access_key, stores.s3_secret_key, bucket),
        )
        stack.push_async_callback(_stop, cluster)
        await asyncio.gather(*(process.start() for process in cluster.processes()))
        await stack.enter_async_context(cluster.client)
        await stack.enter_async_context(cluster.balancer.watching())
        yield cluster


def _create(home: Home, launcher: Launcher, stores: Stores, reach: Reach) -> Cluster:
    vectors_port, *ports = choose_ports(1 + 2 * NUMBER)
    vectors = create_vectors(vectors_port, home.folder("qdrant"), "")
    embedders: list[PythonService] = [
        Module(f"embedder-{number}", "tests.fakes.embedder_server", port, {}, str(port))
        for number, port in enumerate(ports[:NUMBER], 1)
    ]
    settings = {
        **_SETTINGS,
        **stores.environment(),
        "DATABASE__URL": reach.database_url,
        "S3__BUCKET": reach.bucket,
        "REDIS__URL": stores.redis_url.removesuffix("/0") + "/1",  # other tests leave hints in the first one
        "QDRANT__URL": vectors.url,
    }
    apis = create_apis(ports[NUMBER:], settings, embedders)
    balancer = Balancer([api.url for api in apis])
    return Cluster(
        stores=reach,
        vectors_url=vectors.url,
        balancer=balancer,
        client=httpx.AsyncClient(transport=balancer, base_url="http://likeness", timeout=60),
        vectors=Process(vectors, launcher),
        embedders=[Process(service, launcher) for service in embedders],
        workers=[Process(service, launcher) for service in create_workers(NUMBER, settings, embedders, [vectors])],
        apis=[Process(service, launcher) for service in apis],
    )


async def _stop(cluster: Cluster) -> None:
    await asyncio.gather(*(process.stop() for process in cluster.processes()))
