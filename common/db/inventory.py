"""What an audit asks PostgreSQL: rows in the order of their hashes, and whether anybody owns an object or a point."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Embedding, Image, Indexing
from common.status import LEASED, ImageStatus

_UNCHANGED = text(
    """
SELECT images.id
  FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:attempts AS int[]), CAST(:versions AS int[]))
       AS seen(id, status, attempt, payload_version)
  JOIN images USING (id, status, attempt, payload_version)"""
)

_OWNERLESS_HASHES = text(
    """
SELECT hash FROM unnest(CAST(:hashes AS text[])) AS hash
 WHERE NOT EXISTS (SELECT FROM images WHERE images.sha256 = hash)
   AND NOT EXISTS (SELECT FROM tombstones WHERE tombstones.sha256 = hash)"""
)

_OWNERLESS_POINTS = text(
    """
SELECT point FROM unnest(CAST(:ids AS uuid[])) AS point
 WHERE NOT EXISTS (SELECT FROM images WHERE images.id = point)
   AND NOT EXISTS (SELECT FROM tombstones WHERE tombstones.image_id = point)"""
)

Position = tuple[str, UUID]
"""Hash and id of an image: where a walk over the rows is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as an audit sees it.

    Attributes:
        image: the row.
        settled: nobody works on it. `done` is so at any age: it promises that everything is there already.
        embedding_bytes: length of its cached vector by the model in question; None: there is none.
    """

    image: Image
    settled: bool
    embedding_bytes: int | None

    @property
    def position(self) -> Position:
        """Where it stands in the order of the walk."""
        return self.image.sha256, self.image.id


async def read_page(
    session: AsyncSession,
    model_id: int | None,
    *,
    after: Position | None,
    limit: int,
    grace: timedelta,
    indexed: bool = False,
) -> list[Entry]:
    """Return up to `limit` rows that have bytes in the order of hash and id, of those after the position.

    What is not `done` counts as settled when it has not changed for the time of `grace`. `indexed`: only what is `done`
    and has its point in the model's collection.
    """
    old = and_(Image.status.notin_([*LEASED, ImageStatus.CREATED]), Image.updated_at <= func.now() - grace)
    at_rest = or_(Image.status == ImageStatus.DONE, old)
    query = (
        select(Image, at_rest, func.octet_length(Embedding.vector))
        .outerjoin(Embedding, and_(Embedding.sha256 == Image.sha256, Embedding.model_id == model_id))
        .where(Image.sha256.is_not(None))
        .order_by(Image.sha256, Image.id)
        .limit(limit)
    )
    if indexed:
        query = query.join(Indexing, and_(Indexing.image_id == Image.id, Indexing.model_id == model_id))
        query = query.where(Image.status == ImageStatus.DONE)
    if after is not None:
        query = query.where(tuple_(Image.sha256, Image.id) > after)
    return [Entry(*row) for row in await session.execute(query)]


async def find_unchanged(session: AsyncSession, images: Sequence[Image]) -> set[UUID]:
    """Return the ids of those rows that are still as they were read, in state, attempt and payload."""
    found = await session.scalars(
        _UNCHANGED,
        {
            "ids": [image.id for image in images],
            "statuses": [image.status for image in images],
            "attempts": [image.attempt for image in images],
            "versions": [image.payload_version for image in images],
        },
    )
    return set(found)


async def find_ownerless_hashes(session: AsyncSession, hashes: Collection[str]) -> set[str]:
    """Return those hashes that neither an image nor a tombstone has: nobody will use or purge their objects."""
    return set(await session.scalars(_OWNERLESS_HASHES, {"hashes": list(hashes)}))


async def find_ownerless_points(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Return those ids that neither an image nor a tombstone has: nobody will find or purge their points."""
    return set(await session.scalars(_OWNERLESS_POINTS, {"ids": list(ids)}))


async def load(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, Image]:
    """Return the images that exist, by id, whoever owns them."""
    return {image.id: image for image in await session.scalars(select(Image).where(Image.id.in_(ids)))}


async def count_images(session: AsyncSession) -> int:
    """Return how many images have bytes."""
    return await session.scalar(select(func.count()).where(Image.sha256.is_not(None))) or 0
