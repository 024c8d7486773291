"""What an operator asks about the whole database: how many images wait, fail or hang, and at which revision it is."""

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Image
from common.status import LEASED, ImageStatus


@dataclass(frozen=True, slots=True)
class Overview:
    """All images at one moment.

    Attributes:
        counts: images per state; every state is there.
        oldest_pending_s: for how long the longest waiting of the due images has been due, in seconds; None: none waits.
        expired_leases: images whose worker died or hangs; the sweep takes them over within seconds.
    """

    counts: dict[ImageStatus, int]
    oldest_pending_s: float | None
    expired_leases: int


async def take(session: AsyncSession) -> Overview:
    """Count; one pass over the table, the rest by partial indexes."""
    rows = await session.execute(select(Image.status, func.count()).group_by(Image.status))
    found = {ImageStatus(status): count for status, count in rows}
    waiting = await session.scalar(
        select(func.extract("epoch", func.now() - func.min(Image.next_run_at))).where(
            Image.status == ImageStatus.PENDING, Image.next_run_at <= func.now()
        )
    )
    expired = await session.scalar(select(func.count()).where(Image.status.in_(LEASED), Image.lease_until < func.now()))
    return Overview(
        counts={status: found.get(status, 0) for status in ImageStatus},
        oldest_pending_s=None if waiting is None else float(waiting),
        expired_leases=expired or 0,
    )


_MORE_THAN = text(
    """
SELECT EXISTS (
    SELECT FROM (
        (SELECT FROM images WHERE status = 'created' AND sha256 IS NULL LIMIT :limit)
        UNION ALL
        (SELECT FROM images WHERE status = 'pending' LIMIT :limit)
        UNION ALL
        (SELECT FROM images WHERE status IN ('embedding', 'indexing') LIMIT :limit)
    ) AS backlog
    OFFSET :most
)"""
)


async def backlog_exceeds(session: AsyncSession, most: int) -> bool:
    """Tell whether more than `most` images wait or are in work, those to be downloaded included.

    Reads no more of three partial indexes than it must.
    """
    return bool(await session.scalar(_MORE_THAN, {"most": most, "limit": most + 1}))


async def find_revision(session: AsyncSession) -> str | None:
    """Return the revision the database is at, or None where nothing was ever migrated."""
    if await session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
