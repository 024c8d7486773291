"""How many images are in which state, cheaply: what a monitoring system asks again and again, whatever their number."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import EmbeddingModel
from common.status import LEASED, ImageStatus

COUNTED = 200_000
"""As many images of a state are counted, by its index. Of more in all, the statistics say how many are `done`."""

_LOCK: Final = 0x6C696B65_63656E73
"""Which advisory lock it is; `like` `cens` in ASCII."""

# A host that vanishes says no goodbye. By its own defaults the server would wait two hours for a word from it, and
# keep the lock that long; so it asks after 15 s of silence, and gives up after 15 s more.
_TAKE_PLACE = text(
    """
SELECT pg_try_advisory_lock(:lock), set_config('tcp_keepalives_idle', '15', false),
       set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false),
       set_config('tcp_user_timeout', '30000', false)"""
)

# Each state has a partial index. The statistics know how many rows there are: from the inserts and deletes themselves,
# or after a crash from the last ANALYZE.
_TAKE = text(
    """
SELECT (SELECT count(*) FROM (SELECT FROM images WHERE status = 'created' LIMIT :counted) AS few) AS created,
       (SELECT count(*) FROM (SELECT FROM images WHERE status = 'pending' LIMIT :counted) AS few) AS pending,
       (SELECT count(*) FROM (SELECT FROM images WHERE status = 'error' LIMIT :counted) AS few) AS error,
       CASE WHEN total <= :counted THEN
           (SELECT count(*) FROM (SELECT FROM images WHERE status = 'done' LIMIT :counted) AS few) END AS done,
       leased.embedding, leased.indexing, leased.embedding_expired, leased.indexing_expired,
       total,
       (SELECT CAST(extract(epoch FROM now() - min(next_run_at)) AS float8)
          FROM images WHERE status = 'created' AND sha256 IS NULL AND next_run_at <= now()) AS created_due_s,
       (SELECT CAST(extract(epoch FROM now() - min(next_run_at)) AS float8)
          FROM images WHERE status = 'pending' AND next_run_at <= now()) AS pending_due_s
  FROM (SELECT count(*) FILTER (WHERE status = 'embedding') AS embedding,
               count(*) FILTER (WHERE status = 'indexing') AS indexing,
               count(*) FILTER (WHERE status = 'embedding' AND lease_until < now()) AS embedding_expired,
               count(*) FILTER (WHERE status = 'indexing' AND lease_until < now()) AS indexing_expired
          FROM images WHERE status IN ('embedding', 'indexing')) AS leased,
       (SELECT CAST(greatest(pg_stat_get_live_tuples(oid), reltuples) AS bigint) AS total
          FROM pg_class WHERE oid = 'images'::regclass) AS estimate"""
)


# Columns, not rows of the ORM's: who asks keeps its session, which would remember them.
_LIVE = select(EmbeddingModel.name, EmbeddingModel.pretrained, EmbeddingModel.state, EmbeddingModel.dim).where(
    EmbeddingModel.state != "retired"
)


@dataclass(frozen=True, slots=True)
class Census:
    """All images at one moment, and the models they are searched by.

    Attributes:
        images: how many there are by state; `done` is estimated where there are more than `COUNTED` in all, other
            states are told to have so many at most.
        due_s: for how long the image has been due that waits for longest, in seconds; 0: none waits. Of `pending`, to
            be claimed; of `created`, to be downloaded.
        expired: images whose worker has died or hangs, by state.
        models: the live ones, as label, state and dimension.
    """

    images: dict[ImageStatus, int]
    due_s: dict[ImageStatus, float]
    expired: dict[ImageStatus, int]
    models: list[tuple[str, str, int]]


async def take_place(session: AsyncSession) -> bool:
    """Return whether the session's connection is the one that may take the census, from now on until its end.

    It ends, for the server, half a minute after its host has vanished.
    """
    taken: bool = (await session.execute(_TAKE_PLACE, {"lock": _LOCK})).scalar_one()
    return taken


async def take(session: AsyncSession, *, counted: int = COUNTED) -> Census:
    """Count, in a time that does not grow beyond that of counting `counted` entries of each index."""
    row = (await session.execute(_TAKE, {"counted": counted})).one()
    images = {status: getattr(row, status) or 0 for status in ImageStatus}
    if row.done is None:
        images[ImageStatus.DONE] = max(0, row.total - sum(images.values()))
    return Census(
        images,
        {status: getattr(row, f"{status}_due_s") or 0.0 for status in (ImageStatus.CREATED, ImageStatus.PENDING)},
        {status: getattr(row, f"{status}_expired") for status in LEASED},
        [(f"{name}/{pretrained}", state, dim) for name, pretrained, state, dim in await session.execute(_LIVE)],
    )
