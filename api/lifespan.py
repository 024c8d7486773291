"""The composition root of the api service: what lives as long as the process, opened and closed in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from arq.connections import ArqRedis

from api.ingestion import Ingestion
from api.settings import ApiSettings
from api.similarity import Similarity
from common import jobs
from common.db.engine import Database
from common.db.migrate import check_revision
from common.embedder_client import EmbedderClient
from common.purge import Purge
from common.storage import ObjectStore, S3ObjectStore
from common.vectors.base import VectorIndex
from common.vectors.factory import create_vector_index


class ApiState(TypedDict):
    """What requests find in `request.state`."""

    settings: ApiSettings
    database: Database
    storage: ObjectStore
    redis: ArqRedis
    vectors: VectorIndex
    embedder: EmbedderClient
    ingestion: Ingestion
    similarity: Similarity
    purge: Purge


@asynccontextmanager
async def open_state(settings: ApiSettings, vectors: VectorIndex | None = None) -> AsyncIterator[ApiState]:
    """Open everything the api needs; what was opened is closed also when a later step fails.

    Args:
        settings: of this service.
        vectors: an index that is open already (the embedded one can be opened once only); it stays open.

    Raises:
        ConfigurationError: the database is at another revision than this code.
        InfrastructureError: PostgreSQL or the object store can't be reached.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        await check_revision(database)
        storage = S3ObjectStore(settings.s3)
        stack.push_async_callback(storage.close)
        await storage.ensure_bucket()
        redis = jobs.create_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        if vectors is None:
            vectors = create_vector_index(settings.qdrant)
            stack.push_async_callback(vectors.close)
        embedder = await stack.enter_async_context(EmbedderClient(settings.embedder))
        yield ApiState(
            settings=settings,
            database=database,
            storage=storage,
            redis=redis,
            vectors=vectors,
            embedder=embedder,
            ingestion=Ingestion(database, storage, redis, settings.upload),
            similarity=Similarity(database, vectors, embedder),
            purge=Purge(database, storage, vectors),
        )
