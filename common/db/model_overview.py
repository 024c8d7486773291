"""What an operator asks about models: how many images each has, how many it lacks, and how its fill is."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from common.db import embedding_models, indexings, reembeds
from common.db.embedding_models import label
from common.db.models import EmbeddingModel, Operation


@dataclass(frozen=True, slots=True)
class ModelOverview:
    """A model at one moment.

    Attributes:
        model: its row.
        indexed: images that are `done` and in its collection.
        missing: images that are `done` and not there; of a retired model None.
        fill: its fill that has not ended, else the one that was asked for last; None: there was none.
    """

    model: EmbeddingModel
    indexed: int
    missing: int | None
    fill: Operation | None

    @property
    def label(self) -> str:
        """The name under which results mention it."""
        return label(self.model)


async def take(session: AsyncSession) -> list[ModelOverview]:
    """Return all models, the active one first, the retired ones last."""
    models = await embedding_models.list_all(session)
    done = await indexings.count_done(session)
    counts = await indexings.count_by_model(session)
    return [await _look(session, model, done, counts) for model in sorted(models, key=lambda model: model.state)]


async def _look(session: AsyncSession, model: EmbeddingModel, done: int, counts: Mapping[int, int]) -> ModelOverview:
    indexed = counts.get(model.id, 0)
    fill = await reembeds.find_live(session, label(model)) or await reembeds.find_latest(session, label(model))
    return ModelOverview(model, indexed, None if model.state == "retired" else done - indexed, fill)
