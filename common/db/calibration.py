"""A sample of the images to calibrate a model on, and what came of it, in the model's row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from common.calibration import ScoreThresholds
from common.db.embeddings import as_vector
from common.db.models import Embedding, EmbeddingModel, Image
from common.status import ImageStatus


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """An image of the sample; no two have the same bytes."""

    image: Image
    vector: NDArray[np.float32]


async def sample(session: AsyncSession, model_id: int, size: int) -> list[Sampled]:
    """Return up to `size` images of any owner that are `done`, chosen at random."""
    each_once = select(Image.id).where(Image.status == ImageStatus.DONE).ext(distinct_on(Image.sha256)).subquery()
    query = (
        select(Image, Embedding.vector)
        .join(each_once, each_once.c.id == Image.id)
        .join(Embedding, Embedding.sha256 == Image.sha256)
        .where(Embedding.model_id == model_id)
        .order_by(func.random())
        .limit(size)
    )
    return [Sampled(image, as_vector(vector)) for image, vector in await session.execute(query)]


async def keep(session: AsyncSession, model_id: int, thresholds: ScoreThresholds) -> None:
    """Have a model's scores read by these thresholds from now on."""
    values = {"thresholds": thresholds.model_dump()}
    await session.execute(update(EmbeddingModel).where(EmbeddingModel.id == model_id).values(values))


def thresholds_of(model: EmbeddingModel) -> ScoreThresholds | None:
    """Return what was measured for a model, or None if nothing was."""
    return None if model.thresholds is None else ScoreThresholds.model_validate(model.thresholds)
