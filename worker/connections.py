"""What a worker is connected to: the stores and the embedder, each behind its breaker."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from common.active_model import agree_on_model
from common.breakers import EMBEDDER, STORAGE, VECTORS, Breakers
from common.db.engine import Database
from common.db.revision import check_revision
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import EmbedderUnavailable, StorageUnavailable, VectorIndexUnavailable
from common.guards import GuardedObjectStore, GuardedVectorIndex
from common.storage import ObjectStore, S3ObjectStore
from common.vectors.base import Collection, VectorIndex
from common.vectors.factory import create_vector_index
from worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Connections:
    """Nothing is asked before `check`."""

    database: Database
    counting: Database
    """Of its own: the census keeps its connection."""
    storage: ObjectStore
    vectors: VectorIndex
    embedder: EmbedderClient
    breakers: Breakers

    async def check(self) -> ModelInfo:
        """Make sure that all are there and fit; return the active model, as the embedder serves it.

        Raises:
            ConfigurationError: the database is at another revision, or the embedder serves another model.
            InfrastructureError: one can't be reached.
        """
        await check_revision(self.database)
        await self.storage.ensure_bucket()
        model, served = await agree_on_model(self.database, self.embedder)
        await self.vectors.ensure(Collection(model.collection, model.dim))
        return served


async def open_connections(
    stack: AsyncExitStack, settings: WorkerSettings, vectors: VectorIndex | None = None
) -> Connections:
    """Open them, to be closed by `stack`; an index that is given is open already, and stays open."""
    breakers = Breakers("worker", settings.breakers)
    # None for the database: a refused last word on an attempt would let the lease run out, and cost a try.
    database = Database(settings.database, name="worker")
    stack.push_async_callback(database.close)
    counting = Database(settings.database.model_copy(update={"pool_size": 1}), name="census")
    stack.push_async_callback(counting.close)
    storage = GuardedObjectStore(S3ObjectStore(settings.s3), breakers.create(STORAGE, StorageUnavailable))
    stack.push_async_callback(storage.close)
    if vectors is None:
        vectors = create_vector_index(settings.qdrant, settings.search.attributes)
        stack.push_async_callback(vectors.close)
    guarded = GuardedVectorIndex(vectors, breakers.create(VECTORS, VectorIndexUnavailable))
    embedder = await stack.enter_async_context(
        EmbedderClient(settings.embedder, breaker=breakers.create(EMBEDDER, EmbedderUnavailable))
    )
    # After what they ask, so that no probe outlives that; before anything is asked, so that none is left over.
    stack.push_async_callback(breakers.close)
    return Connections(database, counting, storage, guarded, embedder, breakers)
