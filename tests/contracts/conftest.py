"""The vector indexes under contract: both adapters, the small fake server, a cluster's process, and a real server.

The last one where `QDRANT_URL` says.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from qdrant_client import AsyncQdrantClient
from starlette.types import ASGIApp

from common.settings import QdrantSettings
from common.vectors.base import Collection, VectorIndex
from common.vectors.factory import create_vector_index
from common.vectors.qdrant import QdrantIndex
from deploy.cluster.vectors import VectorProcess
from tests.contracts.brute_force import DECLARED, DIM
from tests.fakes.qdrant_server import QdrantServer

SERVER_URL = os.environ.get("QDRANT_URL")
KINDS = ["edge", "memory", "fake", "process", *(["server"] if SERVER_URL else [])]


@asynccontextmanager
async def open_index(kind: str, path: Path) -> AsyncIterator[VectorIndex]:
    closing = AsyncExitStack()
    match kind:
        case "edge":
            index = create_vector_index(QdrantSettings(path=path, timeout_s=60), DECLARED)
        case "memory":
            index = QdrantIndex(AsyncQdrantClient(":memory:"), timeout_s=60, attributes=DECLARED)
        case "fake":
            index = _ask(QdrantServer().app())
        case "process":
            process = VectorProcess(path, 60, DECLARED)
            closing.push_async_callback(process.close)
            index = _ask(process.app())
        case _:
            index = create_vector_index(QdrantSettings(url=SERVER_URL, timeout_s=60), DECLARED)
    async with closing:
        yield index
        await index.close()


def _ask(app: ASGIApp) -> QdrantIndex:
    client = AsyncQdrantClient(url="http://qdrant.test", check_compatibility=False, transport=httpx.ASGITransport(app))
    return QdrantIndex(client, timeout_s=60, attributes=DECLARED)


@pytest.fixture(scope="session", params=KINDS)
async def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VectorIndex]:
    async with open_index(request.param, tmp_path_factory.mktemp("vectors")) as index:
        yield index


CreateCollection = Callable[[], Awaitable[Collection]]


@pytest.fixture(scope="session")
async def create_collection(index: VectorIndex) -> AsyncIterator[CreateCollection]:
    """Makes empty collections, which a server is rid of after the tests."""
    created: list[Collection] = []

    async def create() -> Collection:
        collection = Collection(f"test-{uuid4().hex}", DIM)
        await index.ensure(collection)
        created.append(collection)
        return collection

    yield create
    if SERVER_URL and isinstance(index, QdrantIndex):
        for collection in created:
            await index._client.delete_collection(collection.name)


@pytest.fixture
async def collection(create_collection: CreateCollection) -> Collection:
    """An empty collection of the test's own."""
    return await create_collection()
