"""Objects without an image, kept for a while before they are deleted: their rows may be on their way back."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import QuarantinedObject

AGE = timedelta(days=30)
"""How long an object is kept here before it is deleted, if nothing else is said."""

_ADD = text(
    """
INSERT INTO quarantine (key) SELECT unnest(CAST(:keys AS text[])) ORDER BY 1
ON CONFLICT DO NOTHING"""
)

_REMOVE = text(
    """
WITH held AS (SELECT key FROM quarantine WHERE key = ANY(CAST(:keys AS text[])) ORDER BY key FOR UPDATE)
DELETE FROM quarantine USING held WHERE quarantine.key = held.key"""
)


async def add(session: AsyncSession, keys: Sequence[str]) -> None:
    """Note objects that belong to no image; those that are noted keep the time at which they were first seen."""
    await session.execute(_ADD, {"keys": keys})


async def remove(session: AsyncSession, keys: Sequence[str]) -> None:
    """Forget objects: they are gone, or an image has them."""
    await session.execute(_REMOVE, {"keys": keys})


async def find_due(session: AsyncSession, *, older_than: timedelta, limit: int) -> list[str]:
    """Find objects that have been here for long enough to be deleted, those first that came first."""
    query = select(QuarantinedObject.key).where(QuarantinedObject.first_seen < func.now() - older_than)
    return list(await session.scalars(query.order_by(QuarantinedObject.first_seen).limit(limit)))
