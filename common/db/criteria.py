"""By what duplicates are told: the model, the version of the hash, and the thresholds.

Each image's row says by which criteria it was compared (`compared_by`), so what is to be compared, or compared again,
can be read from the rows alone: whatever was compared by older criteria. That covers new images, those of a release
without duplicates, another model, and other thresholds. Of workers that are set up differently the one that started
last wins; newer criteria are never undone by older ones.
"""

from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.duplicate_models import Criteria
from common.duplicates import DuplicateThresholds
from common.imaging import HASH_VERSION

NEVER = 0
"""`compared_by` of an image that has not been compared."""
AGAIN = 1
"""… and of one that has been, and is to be compared once more. Real criteria have greater numbers."""

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(720_575_940_382)")

# An image that has just been indexed is in the queue of the worker that did it: left to that for a while.
_FIND_DUE = text(
    """
SELECT id FROM images
 WHERE status = 'done' AND compared_by < :criteria_id AND indexed_at < now() - make_interval(secs => :patience_s)
 OFFSET :skip LIMIT :limit"""
)


async def settle(session: AsyncSession, model_id: int, thresholds: DuplicateThresholds) -> int:
    """Return the number of these criteria, which become the latest if they are not."""
    wanted = {
        "model_id": model_id,
        "hash_version": HASH_VERSION,
        "near_distance": thresholds.near_distance,
        "near_score": thresholds.near_score,
        "similar_score": thresholds.similar_score,
    }
    await session.execute(_TAKE_TURNS)
    latest = await session.scalar(select(Criteria).order_by(Criteria.id.desc()).limit(1))
    if latest is not None and all(getattr(latest, name) == value for name, value in wanted.items()):
        return latest.id
    added = Criteria(**wanted)
    session.add(added)
    await session.flush()
    return added.id


async def find_due(
    session: AsyncSession, criteria_id: int, *, patience_s: float, skip: int = 0, limit: int
) -> list[UUID]:
    """Find `done` images that are to be compared, in no order, after `skip` others; those indexed lately can wait."""
    given = {"criteria_id": criteria_id, "patience_s": patience_s, "skip": skip, "limit": limit}
    return list(await session.scalars(_FIND_DUE, given))
