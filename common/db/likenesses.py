"""Which contents look alike: written down as images are compared, removed with the last image that has the content."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import groups
from common.db.criteria import AGAIN, NEVER
from common.db.duplicate_models import Content
from common.db.models import Image
from common.duplicates import Tier


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contents that look alike, by the SHA-256 of their bytes."""

    sha256: str
    other: str
    tier: Tier
    distance: int | None
    score: float


_MARK_COMPARED = text(
    """
WITH due AS (
    SELECT id, compared_by FROM images
     WHERE id = ANY(CAST(:ids AS uuid[])) AND owner_id = :owner_id
       AND status = 'done' AND compared_by < :criteria_id
     ORDER BY id FOR NO KEY UPDATE
)
UPDATE images SET compared_by = :criteria_id FROM due WHERE images.id = due.id
RETURNING images.sha256, due.compared_by = :never AS is_new"""
)

# Of contents that an image has, which is locked: with the last one the content goes. A new copy is a new member of its
# group, so that is shown again.
_KEEP_CONTENTS = text(
    """
WITH alive AS (
    SELECT sha256, compared_by FROM images
     WHERE owner_id = :owner_id AND sha256 = ANY(CAST(:hashes AS text[])) AND (status = 'done' OR compared_by > :never)
     ORDER BY id FOR KEY SHARE
)
INSERT INTO contents (id, owner_id, sha256, copies)
SELECT gen_random_uuid(), :owner_id, sha256, count(*) FILTER (WHERE compared_by > :never)
  FROM alive GROUP BY sha256 ORDER BY sha256
ON CONFLICT (owner_id, sha256) DO UPDATE
   SET copies = EXCLUDED.copies,
       copies_dismissed = contents.copies_dismissed AND contents.sha256 <> ALL(CAST(:new AS text[]))
RETURNING sha256, id"""
)

_FORGET_OLDER = text(
    """
WITH older AS (
    DELETE FROM likenesses WHERE content_id = ANY(CAST(:ids AS uuid[])) AND criteria_id < :criteria_id
    RETURNING content_id, other_id
)
DELETE FROM likenesses USING older
 WHERE likenesses.content_id = older.other_id AND likenesses.other_id = older.content_id"""
)

_KEEP = text(
    """
INSERT INTO likenesses (content_id, other_id, tier, distance, score, criteria_id)
SELECT content_id, other_id, tier, distance, score, :criteria_id
  FROM unnest(CAST(:content_ids AS uuid[]), CAST(:other_ids AS uuid[]), CAST(:tiers AS text[]),
              CAST(:distances AS int[]), CAST(:scores AS float8[]))
       AS found(content_id, other_id, tier, distance, score)
ON CONFLICT (content_id, other_id) DO UPDATE
   SET tier = EXCLUDED.tier, distance = EXCLUDED.distance, score = EXCLUDED.score, criteria_id = EXCLUDED.criteria_id
 WHERE likenesses.criteria_id <= EXCLUDED.criteria_id"""
)

_FIND_GONE = text(
    """
SELECT id, owner_id FROM contents
 WHERE copies < 1
   AND NOT EXISTS (SELECT FROM images WHERE images.owner_id = contents.owner_id AND images.sha256 = contents.sha256)
 LIMIT :limit"""
)

_LOSE_COPY = text("UPDATE contents SET copies = copies - 1 WHERE owner_id = :owner_id AND sha256 = :sha256")

# Who was found to look like very many may look like others still, which there was no room for.
_COMPARE_AGAIN = text(
    """
UPDATE images SET compared_by = :again
  FROM contents
 WHERE contents.id = ANY(CAST(:ids AS uuid[])) AND images.owner_id = contents.owner_id
   AND images.sha256 = contents.sha256 AND compared_by > :again
   AND (SELECT count(*) FROM likenesses WHERE content_id = contents.id) >= :many"""
)

_REMOVE = text(
    """
WITH theirs AS (
    DELETE FROM likenesses AS theirs USING likenesses AS mine
     WHERE mine.content_id = ANY(CAST(:ids AS uuid[]))
       AND theirs.content_id = mine.other_id AND theirs.other_id = mine.content_id
)
DELETE FROM contents WHERE id = ANY(CAST(:ids AS uuid[]))"""
)


async def record(
    session: AsyncSession, owner_id: UUID, image_ids: Sequence[UUID], pairs: Sequence[Pair], criteria_id: int
) -> int:
    """Write down that some of an owner's images were compared, and what they look like; groups follow.

    Images that are gone, or have been compared by these criteria or newer ones meanwhile, are passed over, and so are
    pairs with contents that are gone. Return how many images were noted.
    """
    await groups.lock_owner(session, owner_id)
    marked = (
        await session.execute(
            _MARK_COMPARED, {"owner_id": owner_id, "ids": image_ids, "criteria_id": criteria_id, "never": NEVER}
        )
    ).all()
    compared = {row.sha256 for row in marked}
    found = [pair for pair in pairs if pair.sha256 in compared]
    hashes = compared | {pair.other for pair in found}
    new = {row.sha256 for row in marked if row.is_new}
    ids = await _keep_contents(session, owner_id, hashes, new)
    looked_at = [ids[sha256] for sha256 in compared]
    changed = {*looked_at, *(await groups.find_neighbours(session, looked_at))}
    await session.execute(_FORGET_OLDER, {"ids": looked_at, "criteria_id": criteria_id})
    await _keep(session, ids, [pair for pair in found if pair.other in ids], criteria_id)
    await groups.settle(session, changed | {ids[pair.other] for pair in found if pair.other in ids})
    return len(marked)


async def _keep_contents(
    session: AsyncSession, owner_id: UUID, hashes: Collection[str], new: Collection[str]
) -> dict[str, UUID]:
    given = {"owner_id": owner_id, "hashes": list(hashes), "new": list(new), "never": NEVER}
    return {row.sha256: row.id for row in await session.execute(_KEEP_CONTENTS, given)}


async def _keep(session: AsyncSession, ids: dict[str, UUID], pairs: Sequence[Pair], criteria_id: int) -> None:
    """Write down both sides of each pair, once, in one order."""
    sides = {(ids[pair.sha256], ids[pair.other]): pair for pair in pairs}
    sides |= {(other, one): pair for (one, other), pair in sides.items()}
    rows = sorted(sides.items(), key=lambda item: item[0])
    await session.execute(
        _KEEP,
        {
            "content_ids": [one for (one, _), _ in rows],
            "other_ids": [other for (_, other), _ in rows],
            "tiers": [pair.tier for _, pair in rows],
            "distances": [pair.distance for _, pair in rows],
            "scores": [pair.score for _, pair in rows],
            "criteria_id": criteria_id,
        },
    )


async def lose_copy(session: AsyncSession, owner_id: UUID, sha256: str) -> None:
    """Note that one of the compared images with these bytes was deleted."""
    await session.execute(_LOSE_COPY, {"owner_id": owner_id, "sha256": sha256})


async def find_gone(session: AsyncSession, *, limit: int) -> dict[UUID, UUID]:
    """Find contents that no image has any more; return the owner of each."""
    return {row.id: row.owner_id for row in await session.execute(_FIND_GONE, {"limit": limit})}


async def remove_gone(session: AsyncSession, owner_id: UUID, content_ids: Sequence[UUID], *, many: int) -> int:
    """Remove those of an owner's contents that no image has, and what they looked like; groups follow.

    Who looked like `many` or more is compared again. Return how many were removed.
    """
    await groups.lock_owner(session, owner_id)
    has_image = select(Image.id).where(Image.owner_id == Content.owner_id, Image.sha256 == Content.sha256)
    gone = list(await session.scalars(select(Content.id).where(Content.id.in_(content_ids), ~has_image.exists())))
    left = (await groups.find_neighbours(session, gone)) - set(gone)
    await session.execute(_COMPARE_AGAIN, {"ids": list(left), "again": AGAIN, "many": many})
    await session.execute(_REMOVE, {"ids": gone})
    await groups.settle(session, left)
    return len(gone)
