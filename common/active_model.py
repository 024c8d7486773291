"""Agreement between the embedder and the database on which model is in use."""

from common.db.embedding_models import settle_active
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo


async def agree_on_model(database: Database, embedder: EmbedderClient) -> tuple[EmbeddingModel, ModelInfo]:
    """Return the active model, as the database knows it and as the embedder serves it.

    Raises:
        EmbedderUnavailable: the embedder does not answer.
        ConfigurationError: it serves another model than the active one.
    """
    served = await embedder.model()
    async with database.begin() as session:
        return await settle_active(session, served), served
