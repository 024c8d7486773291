"""The composition root of the api service: what lives as long as the process, opened and closed in order."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from arq.connections import ArqRedis

from api.admission import Admission
from api.ingestion import Ingestion
from api.query_vectors import QueryVectors
from api.search_log import SearchLog
from api.settings import ApiSettings
from api.shared_cache import SharedCache
from api.similarity import Similarity
from api.vector_cache import VectorCache
from common import jobs
from common.breakers import DATABASE, EMBEDDER, REDIS, STORAGE, VECTORS, Breakers
from common.db.engine import Database
from common.db.revision import check_revision
from common.embedder_client import EmbedderClient
from common.errors import (
    DatabaseUnavailable,
    EmbedderUnavailable,
    QueueUnavailable,
    StorageUnavailable,
    VectorIndexUnavailable,
)
from common.guards import GuardedObjectStore, GuardedVectorIndex
from common.purge import Purge
from common.readiness import Probe
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
    breakers: Breakers
    admission: Admission
    neighbours: Sequence[Probe]
    ingestion: Ingestion
    similarity: Similarity
    search_log: SearchLog
    purge: Purge


@asynccontextmanager
async def open_state(
    settings: ApiSettings, vectors: VectorIndex | None = None, neighbours: Sequence[Probe] = ()
) -> AsyncIterator[ApiState]:
    """Open everything the api needs; what was opened is closed also when a later step fails.

    Args:
        settings: of this service.
        vectors: an index that is open already (the embedded one can be opened once only); it stays open.
        neighbours: what else runs in this process and has a place in `/ready`.

    Raises:
        ConfigurationError: the database is at another revision than this code.
        InfrastructureError: PostgreSQL or the object store can't be reached.
    """
    async with AsyncExitStack() as stack:
        breakers = Breakers("api", settings.breakers)
        database = Database(settings.database, breakers.create(DATABASE, DatabaseUnavailable), name="api")
        stack.push_async_callback(database.close)
        storage = GuardedObjectStore(S3ObjectStore(settings.s3), breakers.create(STORAGE, StorageUnavailable))
        stack.push_async_callback(storage.close)
        redis = jobs.create_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        if vectors is None:
            vectors = create_vector_index(settings.qdrant, settings.search.attributes)
            stack.push_async_callback(vectors.close)
        vectors = GuardedVectorIndex(vectors, breakers.create(VECTORS, VectorIndexUnavailable))
        embedder = await stack.enter_async_context(
            EmbedderClient(settings.embedder, breaker=breakers.create(EMBEDDER, EmbedderUnavailable))
        )
        shared = SharedCache(redis, breakers.create(REDIS, QueueUnavailable), settings.cache)
        cache = VectorCache(settings.cache, shared if settings.cache.shared_vectors else None)
        # Before anything is asked: whatever fails from here on, no probe is left over or outlives what it asks.
        stack.push_async_callback(breakers.close)

        await check_revision(database)
        await storage.ensure_bucket()
        admission = Admission(database, breakers, settings.upload)
        stack.push_async_callback(admission.close)
        search_log = SearchLog(database)
        stack.push_async_callback(search_log.close)
        yield ApiState(
            settings=settings,
            database=database,
            storage=storage,
            redis=redis,
            vectors=vectors,
            embedder=embedder,
            breakers=breakers,
            admission=admission,
            neighbours=neighbours,
            ingestion=Ingestion(database, storage, redis, settings.upload),
            similarity=Similarity(
                database,
                vectors,
                embedder,
                QueryVectors(embedder, cache),
                settings.cache,
                trial_share=settings.search.trial_share,
            ),
            search_log=search_log,
            purge=Purge(database, storage, vectors),
        )
