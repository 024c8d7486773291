"""Purging what a deleted image leaves in the stores, safe against a new upload of the same bytes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.duplicate_models import Fingerprint
from common.db.models import Embedding, Image, Tombstone

_LOCK_HASH = text("SELECT pg_advisory_xact_lock(hashtextextended(:hash, 0))")


async def find_due(session: AsyncSession, *, limit: int) -> list[Tombstone]:
    """Find tombstones whose grace is over."""
    query = select(Tombstone).where(Tombstone.purge_after < func.now()).order_by(Tombstone.purge_after).limit(limit)
    return list(await session.scalars(query))


async def lock_bytes(session: AsyncSession, sha256: str) -> None:
    """Keep everybody else from recording or purging these bytes until the transaction ends."""
    await session.execute(_LOCK_HASH, {"hash": sha256})


async def lock_for_purge(session: AsyncSession, sha256: str) -> bool:
    """Tell whether no image uses these bytes, and keep it so until the transaction ends.

    Recording an upload takes the same lock (shared), so it waits, and stores its object after the purge. That is why
    this transaction may be held across a call to the object store; but for a download's, which takes the lock to look
    whether its object is still there, no other one may.
    """
    await lock_bytes(session, sha256)
    return await session.scalar(select(Image.id).where(Image.sha256 == sha256).limit(1)) is None


async def forget_embeddings(session: AsyncSession, sha256: str) -> None:
    """Remove the cached vectors and the perceptual hash of bytes that no image uses, or that are decoded again."""
    await session.execute(delete(Embedding).where(Embedding.sha256 == sha256))
    await session.execute(delete(Fingerprint).where(Fingerprint.sha256 == sha256))


async def remove(session: AsyncSession, image_ids: Sequence[UUID]) -> None:
    """Remove tombstones that have served."""
    await session.execute(delete(Tombstone).where(Tombstone.image_id.in_(image_ids)))
