"""Images to be downloaded from a URL: rows of `images` that stay `created`, without bytes, until a worker has these.

A claim raises `attempt`, costs a try, and hides the image for as long as a download may take: a dead worker's download
is claimed again after that. There is no lease to be renewed, because two downloads of one image are only waste: every
later write is conditional on the attempt, and zero rows mean that another one has taken over, or the image is gone.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import counted_moves
from common.db.images import GRACE
from common.db.lifecycle import moved
from common.db.lifecycle_statements import LOG_MOVES, MS_SINCE, OUTAGE
from common.db.models import TRIES, Image, ImageEvent, Tombstone
from common.imaging import Header
from common.storage import object_key
from common.transitions import Move


@dataclass(frozen=True, slots=True)
class NewImport:
    """An image to be downloaded."""

    owner_id: UUID
    folder_id: UUID
    source_url: str
    filename: str
    external_id: str | None = None
    title: str | None = None
    description: str | None = None
    category: str | None = None
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DownloadClaim:
    """An image that this worker downloads for one attempt."""

    id: UUID
    attempt: int
    tries_left: int
    folder_id: UUID
    source_url: str


@dataclass(frozen=True, slots=True)
class Download:
    """The bytes that came: their hash (hex), their number, and what their header says."""

    sha256: str
    byte_size: int
    header: Header


_CLAIM = text(
    f"""
WITH due AS (
    SELECT id FROM images
     WHERE status = 'created' AND sha256 IS NULL AND next_run_at <= now() AND (tries_left > 0 OR {OUTAGE})
     ORDER BY next_run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE images
   SET attempt = attempt + 1, tries_left = tries_left - 1 + ({OUTAGE})::int, updated_at = now(),
       next_run_at = now() + CAST(:hidden AS interval)
  FROM due WHERE images.id = due.id
RETURNING images.id, attempt, tries_left, folder_id, source_url"""  # noqa: S608 - constants
)

_BURY = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at FROM images
     WHERE status = 'created' AND sha256 IS NULL AND tries_left = 0 AND next_run_at <= now() AND NOT {OUTAGE}
     ORDER BY id FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE images
       SET status = 'error', updated_at = now(), error_code = 'poison_suspected',
           error_message = 'Workers died while downloading this image, on every try it had.'
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt, NULL AS worker, error_code,
              {MS_SINCE.format("held.updated_at")}
), {LOG_MOVES}"""  # noqa: S608 - constants
)


def _move(changes: str, error_code: str = "NULL") -> str:
    """Build a move of a claimed image, which has no bytes yet."""
    return f"""
WITH moved AS (
    UPDATE images SET updated_at = now(), {changes}
     WHERE id = :id AND attempt = :attempt AND status = 'created' AND sha256 IS NULL
    RETURNING id, 'created' AS from_status, status AS to_status, attempt, :worker AS worker, {error_code} AS error_code,
              CAST(NULL AS float8) AS ms
), {LOG_MOVES}"""  # noqa: S608 - built from the constants below alone


_KEEP = text(
    _move(
        "status = 'pending', next_run_at = now(), tries_left = :tries, sha256 = :sha256, object_key = :object_key, "
        "media_type = :media_type, byte_size = :byte_size, width = :width, height = :height"
    )
)

_FAIL = text(_move("status = 'error', error_code = :code, error_message = :message", "error_code"))

_POSTPONE = text(
    _move(
        "next_run_at = now() + CAST(:delay AS interval), tries_left = tries_left + :refund",
        "CAST(:code AS text)",
    )
)


async def record(session: AsyncSession, new: NewImport) -> Image | None:
    """Record an import, due at once. None: its `external_id` belongs to another of the owner's images."""
    values = {"id": uuid4(), **{name: getattr(new, name) for name in new.__slots__}}
    image = await session.scalar(upsert(Image).values(values).on_conflict_do_nothing().returning(Image))
    if image is not None:
        event = insert(ImageEvent).values(image_id=image.id, to_status=image.status, attempt=image.attempt)
        await session.execute(event)
        counted_moves.note(session, [(counted_moves.NEW, image.status)])
    return image


async def claim(session: AsyncSession, hidden: timedelta) -> DownloadClaim | None:
    """Claim what has been due for longest; nobody else can claim it for the time of `hidden`."""
    row = (await session.execute(_CLAIM, {"hidden": hidden})).first()
    return None if row is None else DownloadClaim(*row)


async def find_twin(session: AsyncSession, claim: DownloadClaim, sha256: str) -> UUID | None:
    """Find the image of the same folder that has these bytes already."""
    query = select(Image.id).where(Image.folder_id == claim.folder_id, Image.sha256 == sha256)
    found: UUID | None = await session.scalar(query)
    return found


async def keep(session: AsyncSession, claim: DownloadClaim, worker: str, download: Download) -> bool:
    """`created` → `pending` with the bytes, which are stored already; False: the image is not this attempt's any more.

    The caller holds the lock on the bytes (`lock_bytes`) and has seen that no image of the folder has them.
    """
    header = download.header
    return await _moved(
        session,
        _KEEP,
        claim,
        worker,
        tries=TRIES,
        sha256=download.sha256,
        object_key=object_key(download.sha256),
        media_type=header.media_type,
        byte_size=download.byte_size,
        width=header.width,
        height=header.height,
    )


async def bury_remains(session: AsyncSession, claim: DownloadClaim, sha256: str) -> None:
    """If the image was deleted while it was downloaded, have the bytes that were stored for it purged."""
    if await session.scalar(select(Image.id).where(Image.id == claim.id)) is None:
        remains = {"image_id": claim.id, "sha256": sha256, "purge_after": func.now() + GRACE}
        await session.execute(upsert(Tombstone).values(remains).on_conflict_do_nothing())


async def fail(session: AsyncSession, claim: DownloadClaim, worker: str, code: str, message: str) -> bool:
    """`created` → `error`; False: the image is not this attempt's any more."""
    return await _moved(session, _FAIL, claim, worker, code=code, message=message)


async def postpone(
    session: AsyncSession, claim: DownloadClaim, worker: str, delay: timedelta, *, refund: bool, code: str
) -> bool:
    """Let it be claimed again after the delay; `refund` gives the try back. False: as with `fail`."""
    return await _moved(session, _POSTPONE, claim, worker, delay=delay, refund=int(refund), code=code)


async def bury(session: AsyncSession) -> dict[UUID, Move]:
    """Give up what killed its workers on every try; return the moves."""
    return await moved(session, _BURY, {})


async def _moved(session: AsyncSession, statement: Any, claim: DownloadClaim, worker: str, **arguments: object) -> bool:
    given = {"id": claim.id, "attempt": claim.attempt, "worker": worker, **arguments}
    return bool(await moved(session, statement, given))
