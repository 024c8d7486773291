"""The state machine of `common.status` in SQL: claims, fenced moves, and what the sweep heals.

Every function takes many images and is one statement. A worker's move carries a `Fence`: it touches a row only while
`attempt` is still the worker's own and the lease has not run out by the database's clock; rows it could not touch are
missing from the answer, which means the ownership was lost. Rows are locked in the order of their ids, so concurrent
batches can't deadlock. Each statement also writes its rows of `image_events`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import counted_moves
from common.db.model_lock import hold_models
from common.db.models import TRIES
from common.status import ImageStatus, Visibility
from common.transitions import Move

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed; a dead worker's images are reclaimed after this."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of ownership: the image and the attempt that claimed it."""

    id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """An image that this worker owns for one attempt, with what the pipeline needs of its row."""

    id: UUID
    attempt: int
    tries_left: int
    owner_id: UUID
    folder_id: UUID
    sha256: str
    object_key: str
    media_type: str
    byte_size: int
    category: str | None
    tags: list[str]
    attributes: dict[str, Any]
    created_at: datetime
    payload_version: int
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    visibility: str = Visibility.VISIBLE
    waited_s: float | None = None
    """For how long it had been due, if it was `pending`."""
    from_status: str = ImageStatus.PENDING
    """What it was claimed from."""
    waited_ms: float = 0.0
    """How long it was that; of an image that is put back, since then."""

    @property
    def move(self) -> Move:
        """The change of state that the claim was."""
        return Move(self.id, self.from_status, ImageStatus.EMBEDDING, self.attempt, ms=self.waited_ms)

    @property
    def fence(self) -> Fence:
        """What every later write of this attempt carries."""
        return Fence(self.id, self.attempt)


@dataclass(frozen=True, slots=True)
class Failure:
    """An image to be given up, and why."""

    fence: Fence
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """An image to be put back, to run again after `delay`; `refund` gives the try back (not the image's fault)."""

    fence: Fence
    delay: timedelta
    refund: bool
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """An image whose point is in the collections of these models, filtered by the payload of that version."""

    fence: Fence
    payload_version: int
    model_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a `Finish`.

    Attributes:
        done: whether the image is `done`; else it is `pending` again, its try given back, as the model that is active
            by now is not among those whose collections it is in.
        lacking: the building models among whose points it is not.
        move: for the log.
        first_done_s: how long after its row was made it was `done` for the first time; None: it was before, or is not.
    """

    done: bool
    lacking: tuple[int, ...]
    move: Move
    first_done_s: float | None = field(default=None, compare=False)


LOG_MOVES = """
logged AS (
    INSERT INTO image_events (image_id, from_status, to_status, attempt, worker, error_code)
    SELECT id, from_status, to_status, attempt, worker, error_code FROM moved
)
SELECT id, from_status, to_status, attempt, error_code, ms FROM moved"""
"""The end of a statement that moves images: writes its rows of `image_events` from its CTE `moved`, answers `Move`s."""

MS_SINCE = "CAST(extract(epoch FROM now() - {}) * 1000 AS float8) AS ms"
"""The milliseconds of a `Move`, from the moment the row was last written."""
_MS = MS_SINCE.format("held.updated_at")
_MOVE = 6
"""Columns of a `Move`."""

# Claimed before PostgreSQL was started last: nobody could renew the lease meanwhile. That it ran out tells of no death,
# and costs no try.
OUTAGE = "updated_at < pg_postmaster_start_time()"
"""As a condition on a row that was claimed."""

_ABANDONED = f"status IN ('embedding', 'indexing') AND lease_until < now() AND (tries_left > 0 OR {OUTAGE})"

_CLAIM = text(
    f"""
WITH due AS (
    SELECT id, status, updated_at, (status <> 'pending' AND {OUTAGE})::int AS refund,
           CASE WHEN status = 'pending' THEN CAST(extract(epoch FROM now() - next_run_at) AS float8) END AS waited_s
      FROM images
     WHERE id = ANY(CAST(:ids AS uuid[]))
       AND (status = 'pending' AND tries_left > 0 AND next_run_at <= now() OR {_ABANDONED})
     ORDER BY id FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE images
       SET status = 'embedding', attempt = attempt + 1, tries_left = tries_left - 1 + refund, lease_owner = :worker,
           lease_until = now() + CAST(:lease AS interval), model_id = :model_id, updated_at = now()
      FROM due WHERE images.id = due.id
    RETURNING images.id, attempt, tries_left, owner_id, folder_id, sha256, object_key, media_type, byte_size,
              category, tags, attributes, created_at, payload_version, labels, visibility, due.waited_s,
              due.status AS from_status, {MS_SINCE.format("due.updated_at")}
), logged AS (
    INSERT INTO image_events (image_id, from_status, to_status, attempt, worker)
    SELECT id, from_status, 'embedding', attempt, :worker FROM claimed
)
SELECT id, attempt, tries_left, owner_id, folder_id, sha256, object_key, media_type, byte_size,
       category, tags, attributes, created_at, payload_version, labels, visibility, waited_s, from_status, ms,
       'embedding' AS to_status
  FROM claimed"""  # noqa: S608 - constants
).columns(attributes=JSONB, labels=JSONB)


def _fenced(columns: str, from_statuses: str, changes: str, error_code: str = "NULL") -> TextClause:
    """Build a fenced move; `columns` names the arrays that come with each fence, for use in `changes`."""
    arrays = "".join(f", CAST(:{column} AS {kind}[])" for column, kind in map(str.split, columns.splitlines()))
    names = "".join(f", {line.split()[0]}" for line in columns.splitlines())
    held = "".join(f", fence.{line.split()[0]}" for line in columns.splitlines())
    return text(
        f"""
WITH held AS (
    SELECT images.id, images.status, images.updated_at, images.lease_owner{held}
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]){arrays}) AS fence(id, attempt{names})
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status IN ({from_statuses}) AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
), moved AS (
    UPDATE images SET updated_at = now(), {changes} FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, images.attempt,
              held.lease_owner AS worker, {error_code} AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - built from the constants below alone
    )


_ADVANCE = _fenced("", "'embedding'", "status = 'indexing'")

_FINISH = text(
    f"""
WITH written AS MATERIALIZED (
    SELECT image_id, model_id
      FROM unnest(CAST(:image_ids AS uuid[]), CAST(:model_ids AS int[])) AS given(image_id, model_id)
      JOIN embedding_models ON embedding_models.id = model_id AND state <> 'retired'
), held AS (
    SELECT images.id, images.status, images.updated_at, images.lease_owner, fence.payload_version,
           images.indexed_at IS NULL AS is_new,
           NOT EXISTS (
               SELECT FROM embedding_models WHERE state = 'active'
                  AND (images.id, embedding_models.id) NOT IN (SELECT image_id, model_id FROM written)
           ) AS served
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:payload_version AS int[]))
           AS fence(id, attempt, payload_version)
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status = 'indexing' AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
), moved AS (
    UPDATE images
       SET updated_at = now(), lease_owner = NULL, lease_until = NULL,
           status = CASE WHEN served THEN 'done' ELSE 'pending' END,
           indexed_at = CASE WHEN served THEN now() ELSE indexed_at END,
           indexed_version = CASE WHEN served THEN held.payload_version ELSE indexed_version END,
           next_run_at = CASE WHEN served THEN next_run_at ELSE now() END,
           tries_left = tries_left + (NOT served)::int
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, images.attempt,
              held.lease_owner AS worker, CASE WHEN NOT served THEN 'model_changed' END AS error_code, served, {_MS},
              CASE WHEN served AND is_new
                   THEN CAST(extract(epoch FROM now() - created_at) AS float8) END AS first_done_s
), outdated AS (
    DELETE FROM indexings USING moved
     WHERE image_id = moved.id AND (image_id, model_id) NOT IN (SELECT image_id, model_id FROM written)
), added AS (
    INSERT INTO indexings (model_id, image_id)
    SELECT model_id, image_id FROM written JOIN moved ON moved.id = image_id
    ON CONFLICT DO NOTHING
), logged AS (
    INSERT INTO image_events (image_id, from_status, to_status, attempt, worker, error_code)
    SELECT id, from_status, to_status, attempt, worker, error_code FROM moved
)
SELECT id, from_status, to_status, attempt, error_code, ms, served, first_done_s,
       ARRAY(SELECT embedding_models.id FROM embedding_models
              WHERE state = 'building'
                AND (moved.id, embedding_models.id) NOT IN (SELECT image_id, model_id FROM written)) AS lacking
  FROM moved"""  # noqa: S608 - constants
)

_FAIL = _fenced(
    "code text\nmessage text",
    "'embedding', 'indexing'",
    "status = 'error', lease_owner = NULL, lease_until = NULL, error_code = held.code, error_message = held.message",
    error_code="held.code",
)

_RELEASE = _fenced(
    "delay interval\nrefund int\ncode text",
    "'embedding', 'indexing'",
    "status = 'pending', lease_owner = NULL, lease_until = NULL, next_run_at = now() + held.delay, "
    "tries_left = tries_left + held.refund",
    error_code="held.code",
)

_RENEW = text(
    """
WITH held AS (
    SELECT images.id FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS fence(id, attempt)
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status IN ('embedding', 'indexing') AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
)
UPDATE images SET lease_until = now() + CAST(:lease AS interval) FROM held WHERE images.id = held.id
RETURNING images.id"""
)

_STORED = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at FROM images WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'created'
     ORDER BY id FOR UPDATE
), moved AS (
    UPDATE images SET status = 'pending', next_run_at = now(), updated_at = now() FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              NULL AS worker, NULL AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

_REQUEUE = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at FROM images WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'error'
     ORDER BY id FOR UPDATE
), moved AS (
    UPDATE images
       SET status = CASE WHEN sha256 IS NULL THEN 'created' ELSE 'pending' END,
           tries_left = :tries, next_run_at = now(), updated_at = now(), error_code = NULL, error_message = NULL
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              :requeued_by AS worker, NULL AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

_REDO = text(
    f"""
WITH held AS (
    SELECT images.id, images.status, images.updated_at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS fence(id, attempt)
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status = 'done'
     ORDER BY images.id FOR UPDATE OF images
), moved AS (
    UPDATE images SET status = 'pending', tries_left = :tries, next_run_at = now(), updated_at = now(),
                      compared_by = least(compared_by, 1)  -- `criteria.AGAIN`
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              :redone_by AS worker, CAST(:code AS text) AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

_BURY = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at, lease_owner FROM images
     WHERE status IN ('embedding', 'indexing') AND lease_until < now() AND tries_left = 0 AND NOT {OUTAGE}
     ORDER BY id FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE images
       SET status = 'error', lease_owner = NULL, lease_until = NULL, updated_at = now(),
           error_code = 'poison_suspected',
           error_message = 'Workers died while processing this image, on every try it had.'
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              held.lease_owner AS worker, error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

_FIND_DUE = text(
    f"""
SELECT id FROM images
 WHERE status = 'pending' AND tries_left > 0 AND next_run_at <= now() - CAST(:overdue AS interval) OR {_ABANDONED}
 ORDER BY next_run_at LIMIT :limit"""  # noqa: S608 - constants
)


async def claim(
    session: AsyncSession, ids: Sequence[UUID], worker: str, lease: timedelta = LEASE, *, model_id: int | None = None
) -> list[Claim]:
    """Claim those of `ids` that are due: `pending`, or leased to a worker whose lease ran out.

    `model_id` says by which model they are to be embedded; with None the row says nothing of it.
    """
    given = {"ids": ids, "worker": worker, "lease": lease, "model_id": model_id}
    return [_claim(row) for row in await _execute(session, _CLAIM, given)]


def _claim(row: Row[Any]) -> Claim:
    values = tuple(row)[:-1]
    return Claim(*values)


async def renew(session: AsyncSession, fences: Sequence[Fence], lease: timedelta = LEASE) -> set[UUID]:
    """Give each owned image a fresh lease; return those that were still owned."""
    return set(await session.scalars(_RENEW, _with_fences(fences, {"lease": lease})))


async def advance(session: AsyncSession, fences: Sequence[Fence]) -> dict[UUID, Move]:
    """`embedding` → `indexing`; return those that were still owned."""
    return await _move(session, _ADVANCE, fences)


async def finish(session: AsyncSession, finishes: Sequence[Finish]) -> dict[UUID, Finished]:
    """`indexing` → `done`, or back to `pending`; return what came of those that were still owned.

    Which model is active can't change before this transaction ends.
    """
    await hold_models(session)
    rows = await _execute(
        session,
        _FINISH,
        {
            "ids": [item.fence.id for item in finishes],
            "attempts": [item.fence.attempt for item in finishes],
            "payload_version": [item.payload_version for item in finishes],
            "image_ids": [item.fence.id for item in finishes for _ in item.model_ids],
            "model_ids": [model_id for item in finishes for model_id in item.model_ids],
        },
    )
    return {
        row.id: Finished(row.served, tuple(row.lacking), Move(*tuple(row)[:_MOVE]), row.first_done_s) for row in rows
    }


async def fail(session: AsyncSession, failures: Sequence[Failure]) -> dict[UUID, Move]:
    """→ `error` with code and message; return those that were still owned."""
    return await _move(
        session,
        _FAIL,
        [item.fence for item in failures],
        code=[item.code for item in failures],
        message=[item.message for item in failures],
    )


async def release(session: AsyncSession, releases: Sequence[Release]) -> dict[UUID, Move]:
    """→ `pending`, to run after the delay; return those that were still owned."""
    return await _move(
        session,
        _RELEASE,
        [item.fence for item in releases],
        delay=[item.delay for item in releases],
        refund=[int(item.refund) for item in releases],
        code=[item.code for item in releases],
    )


async def mark_stored(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, Move]:
    """`created` → `pending`, once the object is stored; return those that moved."""
    return await moved(session, _STORED, {"ids": ids})


async def requeue(session: AsyncSession, ids: Sequence[UUID], requeued_by: str) -> dict[UUID, Move]:
    """`error` → `pending` with all tries; `attempt`, the fence, is kept. Return those that moved.

    An import that was given up before it had its bytes goes back to `created`: it is downloaded again.
    """
    return await moved(session, _REQUEUE, {"ids": ids, "tries": TRIES, "requeued_by": requeued_by})


async def redo(session: AsyncSession, fences: Sequence[Fence], redone_by: str, code: str) -> dict[UUID, Move]:
    """`done` → `pending`, with all tries: the pipeline is to make again what an audit found missing, named by `code`.

    So it is when an operator has the stages run once more. Return those that moved: no other attempt has claimed or
    finished them since their rows were read.
    """
    return await _move(session, _REDO, fences, tries=TRIES, redone_by=redone_by, code=code)


async def bury(session: AsyncSession) -> dict[UUID, Move]:
    """Give up what killed its workers on every try: expired leases with no try left → `error`."""
    return await moved(session, _BURY, {})


async def find_due(session: AsyncSession, *, overdue: timedelta, limit: int) -> list[UUID]:
    """Find what waits without a hint: `pending` for at least `overdue`, or leased with the lease run out."""
    return list(await session.scalars(_FIND_DUE, {"overdue": overdue, "limit": limit}))


async def moved(session: AsyncSession, statement: TextClause, arguments: Mapping[str, object]) -> dict[UUID, Move]:
    """Run a statement that ends as `LOG_MOVES` does; return the moves by image."""
    return {row.id: Move(*tuple(row)) for row in await _execute(session, statement, arguments)}


async def _move(
    session: AsyncSession, statement: TextClause, fences: Sequence[Fence], **arguments: object
) -> dict[UUID, Move]:
    return await moved(session, statement, _with_fences(fences, arguments))


def _with_fences(fences: Sequence[Fence], arguments: Mapping[str, object]) -> dict[str, object]:
    return {"ids": [fence.id for fence in fences], "attempts": [fence.attempt for fence in fences], **arguments}


async def _execute(
    session: AsyncSession, statement: Executable, given: Mapping[str, object] | None = None
) -> Sequence[Row[Any]]:
    """Run a statement that answers a row for each image it has moved; see `LOG_MOVES`."""
    rows = (await session.execute(statement, given)).all()
    counted_moves.note(session, [(row.from_status, row.to_status) for row in rows])
    return rows
