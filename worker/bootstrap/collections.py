"""The collections of the models that are in use; on a new database, of the one that the embedder serves."""

from common.active_model import agree_on_model
from common.db.embedding_models import list_live
from common.db.engine import Database
from common.db.revision import check_revision
from common.embedder_client import EmbedderClient
from common.vectors.base import Collection
from common.vectors.factory import create_vector_index
from worker.bootstrap.settings import BootstrapSettings


async def ensure_collections(settings: BootstrapSettings) -> list[Collection]:
    """Settle which model is active, create the collections that are missing, and return all of them.

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
    finally:
        await vectors.close()
        await database.close()
    return collections
