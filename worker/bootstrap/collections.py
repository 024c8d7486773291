"""The collections of the models that are in use; on a new database, of the one that the embedder serves."""

from collections.abc import Sequence

from common.active_model import agree_on_model
from common.db import operations
from common.db.embedding_models import list_live
from common.db.engine import Database
from common.db.operations import AUDIT, NewOperation
from common.db.revision import check_revision
from common.embedder_client import EmbedderClient
from common.vectors.base import Collection, VectorIndex
from common.vectors.factory import create_vector_index
from worker.audit.schedule import INDEX_CAME_BACK
from worker.bootstrap.settings import BootstrapSettings

_SAMPLE = 1000
"""Images of the audit that is asked for where a collection is empty."""


async def ensure_collections(settings: BootstrapSettings) -> list[Collection]:
    """Settle which model is active, create the collections that are missing, and return all of them.

    Where one is empty, workers are asked to look what it should hold: none of them may have seen the index lose it.

    Raises:
        ConfigurationError: the database is at another revision, the embedder serves another model than the active
            one, or a collection is there with another dimension.
        InfrastructureError: PostgreSQL, the embedder or the vector index can't be reached.
    """
    database = Database(settings.database)
    vectors = create_vector_index(settings.qdrant, settings.search.attributes)
    try:
        await check_revision(database)
        async with EmbedderClient(settings.embedder) as embedder:
            await agree_on_model(database, embedder)
        async with database.read() as session:
            collections = [Collection(model.collection, model.dim) for model in await list_live(session)]
        for collection in collections:
            await vectors.ensure(collection)
        await _have_empty_ones_filled(database, vectors, collections)
    finally:
        await vectors.close()
        await database.close()
    return collections


async def _have_empty_ones_filled(database: Database, vectors: VectorIndex, collections: Sequence[Collection]) -> None:
    if 0 in [await vectors.count(collection) for collection in collections]:
        async with database.begin() as session:
            await operations.start_unless_queued(session, NewOperation(AUDIT, INDEX_CAME_BACK, {"sample": _SAMPLE}))
