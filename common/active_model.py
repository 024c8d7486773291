"""Agreement between the embedder and the database on which model is in use."""

from common.db.embedding_models import find_active, is_served_as, settle_active
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo


async def agree_on_model(database: Database, embedder: EmbedderClient) -> tuple[EmbeddingModel, ModelInfo]:
    """Return the active model, as the database knows it and as the embedder serves it, by default or beside others.

    On a new database the embedder's default model becomes the active one. To embed with the active model, use
    `embedder.serving` with its label.

    Raises:
        EmbedderUnavailable: the embedder does not answer.
        ConfigurationError: the active model is none of those it serves.
    """
    default, *others = await embedder.models()
    async with database.begin() as session:
        active = await find_active(session)
        served = next((each for each in others if active is not None and is_served_as(active, each)), default)
        return await settle_active(session, served), served
