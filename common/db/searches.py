"""Rows of `search_log`: written in batches, forgotten after a while, and summed up for operators."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import CursorResult, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Search

Kind = Literal["text", "image", "picture", "examples"]


@dataclass(frozen=True, slots=True)
class NewSearch:
    """A search that was answered; the fields are those of `Search`."""

    owner_id: UUID
    kind: Kind
    depth: int
    found: int
    ms: float
    model: str
    text: str | None = None
    image_id: UUID | None = None
    filters: dict[str, Any] = field(default_factory=dict)
    session: str | None = None
    trial: bool = False


async def add(session: AsyncSession, searches: Sequence[NewSearch]) -> None:
    """Write down searches."""
    await session.execute(insert(Search), [asdict(search) for search in searches])


async def forget(session: AsyncSession, *, older_than: timedelta, limit: int) -> int:
    """Delete searches that are older, at most so many, the oldest first; return how many."""
    old = (
        select(Search.id)
        .where(Search.at < func.now() - older_than)
        .order_by(Search.at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    result = await session.execute(delete(Search).where(Search.id.in_(old)))
    assert isinstance(result, CursorResult)  # noqa: S101 - for the type checker
    return result.rowcount


@dataclass(frozen=True, slots=True)
class Latency:
    """How long searches took, in milliseconds; `kind` None: all of them."""

    kind: str | None
    searches: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A text or an image that was searched for, whatever its case and the blanks around it.

    Attributes:
        query: the text, or the image's id.
        searches: how often, further pages of the same search not counted.
        none_found: how many of these found nothing.
        filtered: how many of these had filters.
        last: when this was last.
    """

    kind: str
    query: str
    searches: int
    none_found: int
    filtered: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """What was searched for in a time, and how that went.

    Attributes:
        sessions: how many different ones are named.
        latency: by kind, and of all.
        top: what was asked most often.
        none_found: what found nothing most often; counts are of the searches that found nothing.
    """

    sessions: int
    latency: list[Latency]
    top: list[Asked]
    none_found: list[Asked]


_SESSIONS = text(
    "SELECT count(DISTINCT (owner_id, session)) FROM search_log "
    "WHERE at >= now() - CAST(:since AS interval) AND session IS NOT NULL"
)

_LATENCY = text(
    """
SELECT kind, count(*), (percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms)) AS percentiles, max(ms)
  FROM search_log
 WHERE at >= now() - CAST(:since AS interval)
 GROUP BY GROUPING SETS ((kind), ())
HAVING count(*) > 0
 ORDER BY kind NULLS LAST"""
)

_ASKED = text(
    """
SELECT kind, coalesce(lower(btrim(text)), CAST(image_id AS text)) AS query, count(*),
       count(*) FILTER (WHERE found = 0), count(*) FILTER (WHERE filters <> '{}'), max(at)
  FROM search_log
 WHERE at >= now() - CAST(:since AS interval) AND depth = 0 AND kind IN ('text', 'image')
   AND (found = 0 OR NOT :none_found)
 GROUP BY kind, query
 ORDER BY count(*) DESC, max(at) DESC, query
 LIMIT :limit"""
)


async def report(session: AsyncSession, *, since: timedelta, limit: int) -> Report:
    """Sum up the searches of the last `since`; of each list of queries, the first `limit`."""
    sessions = await session.scalar(_SESSIONS, {"since": since})
    latency = [
        Latency(kind, searches, p50, p95, p99, longest)
        for kind, searches, (p50, p95, p99), longest in await session.execute(_LATENCY, {"since": since})
    ]
    top, none_found = [
        [Asked(*row) for row in await session.execute(_ASKED, {"since": since, "limit": limit, "none_found": only})]
        for only in (False, True)
    ]
    return Report(sessions or 0, latency, top, none_found)
