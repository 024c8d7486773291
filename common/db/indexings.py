"""Rows of `indexings`: which image has its point in whose collection; `common.db.lifecycle.finish` writes most."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Image, Indexing
from common.status import ImageStatus

_ADD = text(
    """
INSERT INTO indexings (model_id, image_id)
SELECT embedding_models.id, images.id
  FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:versions AS int[]))
       AS written(id, attempt, payload_version)
  JOIN images USING (id, attempt, payload_version)
  JOIN embedding_models ON embedding_models.id = :model_id AND state <> 'retired'
 WHERE images.status = 'done'
 ORDER BY images.id
ON CONFLICT (model_id, image_id) DO UPDATE SET image_id = excluded.image_id
RETURNING image_id"""
)


async def add(session: AsyncSession, model_id: int, images: Sequence[Image]) -> set[UUID]:
    """Note that points were written as these rows have it; return the images of which that still holds.

    The others were deleted, edited, or have left `done` since the rows were read, or the model is retired. (An edit
    that is committed later finds the point when it is synced.)
    """
    added = await session.scalars(
        _ADD,
        {
            "model_id": model_id,
            "ids": [image.id for image in images],
            "attempts": [image.attempt for image in images],
            "versions": [image.payload_version for image in images],
        },
    )
    return set(added)


async def remove(session: AsyncSession, model_id: int, image_ids: Sequence[UUID]) -> None:
    """Forget that these images have their points there: a fill is to write them."""
    await session.execute(delete(Indexing).where(Indexing.model_id == model_id, Indexing.image_id.in_(image_ids)))


async def find_missing(session: AsyncSession, model_id: int, *, after: UUID | None, limit: int) -> list[Image]:
    """Return up to `limit` images that are `done` but not in the model's collection, by id, of those after one."""
    query = select(Image).where(_is_missing(model_id)).order_by(Image.id).limit(limit)
    return list(await session.scalars(query if after is None else query.where(Image.id > after)))


async def count_missing(session: AsyncSession, model_id: int) -> int:
    """Return how many images are `done` but not in the model's collection."""
    return await session.scalar(select(func.count()).select_from(Image).where(_is_missing(model_id))) or 0


async def count_done(session: AsyncSession) -> int:
    """Return how many images should be in every live model's collection."""
    return await session.scalar(select(func.count()).where(Image.status == ImageStatus.DONE)) or 0


async def count_by_model(session: AsyncSession) -> dict[int, int]:
    """Return how many of the `done` images are in each model's collection; models without any are left out."""
    query = select(Indexing.model_id, func.count()).join(Image, Image.id == Indexing.image_id)
    rows = await session.execute(query.where(Image.status == ImageStatus.DONE).group_by(Indexing.model_id))
    return {row[0]: row[1] for row in rows}


async def forget_some(session: AsyncSession, model_id: int, limit: int) -> int:
    """Delete up to `limit` rows of a model, the cached vectors by it likewise; return how many."""
    gone = [await session.scalars(step, {"model_id": model_id, "limit": limit}) for step in _FORGET]
    return sum(len(keys.all()) for keys in gone)


_FORGET = [
    text(
        f"""
DELETE FROM {table} USING (SELECT {key} AS key FROM {table} WHERE model_id = :model_id LIMIT :limit) AS few
 WHERE model_id = :model_id AND {key} = few.key RETURNING {key}"""  # noqa: S608 - constants
    )
    for table, key in (("indexings", "image_id"), ("embeddings", "sha256"))
]


def _is_missing(model_id: int) -> ColumnElement[bool]:
    there = exists().where(Indexing.model_id == model_id, Indexing.image_id == Image.id)
    return and_(Image.status == ImageStatus.DONE, ~there)
