"""The embedding cache: vectors by content hash and model."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Embedding, EmbeddingModel, Image

_DTYPE = np.dtype("<f4")

_SAVE = text(
    """
INSERT INTO embeddings (sha256, model_id, vector)
SELECT sha256, embedding_models.id, vector
  FROM unnest(CAST(:hashes AS text[]), CAST(:vectors AS bytea[])) AS given(sha256, vector)
  JOIN embedding_models ON embedding_models.id = :model_id AND state <> 'retired'
 ORDER BY sha256
ON CONFLICT DO NOTHING"""
)


def as_vector(stored: bytes) -> NDArray[np.float32]:
    """Return a stored vector, float32 of shape `(dim,)`, read-only."""
    return np.frombuffer(stored, _DTYPE)


async def save(session: AsyncSession, model_id: int, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Keep vectors (float32, shape (dim,)) by the SHA-256 of the bytes they were made from; none of a retired model."""
    await session.execute(
        _SAVE,
        {
            "model_id": model_id,
            "hashes": list(vectors),
            "vectors": [vector.astype(_DTYPE).tobytes() for vector in vectors.values()],
        },
    )


async def find(session: AsyncSession, model_id: int, hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors that are kept for these hashes."""
    query = select(Embedding.sha256, Embedding.vector).where(
        Embedding.model_id == model_id, Embedding.sha256.in_(hashes)
    )
    return {sha256: as_vector(vector) for sha256, vector in await session.execute(query)}


async def forget(session: AsyncSession, model_id: int, hashes: Sequence[str]) -> None:
    """Forget a model's vectors of these hashes: they are of no use."""
    await session.execute(delete(Embedding).where(Embedding.model_id == model_id, Embedding.sha256.in_(hashes)))


async def find_embedded(session: AsyncSession, image_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these images have their vector of the active model here."""
    query = (
        select(Image.id)
        .join(Embedding, Embedding.sha256 == Image.sha256)
        .join(EmbeddingModel, EmbeddingModel.id == Embedding.model_id)
        .where(EmbeddingModel.state == "active", Image.id.in_(image_ids))
    )
    return set(await session.scalars(query))
