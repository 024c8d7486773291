"""Rows of `operations`: long work that somebody asks for and any worker does, under a lease and behind a fence.

As with images, a claim raises `attempt` and costs a try, every later write of the attempt carries its fence, zero rows
mean that the ownership was lost, and only the database's clock counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import time, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.attempts import LEASE
from common.db.models import Operation
from common.errors import NotFound
from common.status import OperationStatus

AUDIT = "audit"
"""The kind of operation that compares rows, objects and vectors; see `worker.audit`."""
CALIBRATE = "calibrate"
"""The kind that finds out from which score on matches are good; see `worker.calibration`."""
REEMBED = "reembed"
"""The kind that fills a model's collection; see `worker.reembed` and `common.db.reembeds`."""
RETIRE = "retire"
"""The kind that removes what is left of a retired model; see `worker.reembed`."""

KEPT = timedelta(days=90)
"""How long an operation is remembered after its end."""

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(720_575_940_381)")

_CLAIM = text(
    """
WITH due AS (
    SELECT id FROM operations
     WHERE kind = ANY(CAST(:kinds AS text[])) AND tries_left > 0
       AND (status = 'queued' AND next_run_at <= now() OR status = 'running' AND lease_until < now())
     ORDER BY next_run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE operations
   SET status = 'running', attempt = attempt + 1, tries_left = tries_left - 1, lease_owner = :worker,
       lease_until = now() + CAST(:lease AS interval), started_at = now(), done = 0, total = NULL, error = NULL
  FROM due WHERE operations.id = due.id
RETURNING operations.id, kind, origin, params, attempt, tries_left"""
)

_BURY = text(
    """
UPDATE operations
   SET status = 'failed', lease_owner = NULL, lease_until = NULL, finished_at = now(),
       error = 'Workers died while doing this, on every try it had.'
 WHERE status = 'running' AND lease_until < now() AND tries_left = 0
RETURNING kind"""
)

_LATEST = text("date_trunc('day', now() - CAST(:at AS interval), 'UTC') + CAST(:at AS interval)")
"""When it was last `at` o'clock."""


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation to be asked for; `delay` is how long it waits at least."""

    kind: str
    origin: str
    params: dict[str, Any]
    delay: timedelta = timedelta(0)
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class OperationClaim:
    """An operation that this worker owns for one attempt."""

    id: UUID
    kind: str
    origin: str
    params: dict[str, Any]
    attempt: int
    tries_left: int


async def start(session: AsyncSession, new: NewOperation) -> UUID:
    """Ask for an operation; return its id."""
    await session.execute(
        insert(Operation).values(
            id=new.id,
            kind=new.kind,
            origin=new.origin,
            params=new.params,
            next_run_at=func.now() + new.delay,
        )
    )
    return new.id


async def take_turns(session: AsyncSession) -> None:
    """Keep others from asking for operations by themselves until this transaction ends; see what they asked for."""
    await session.execute(_TAKE_TURNS)


async def start_unless_queued(session: AsyncSession, new: NewOperation) -> UUID | None:
    """Ask for an operation unless one of this kind and origin waits already; of several at once one asks.

    One that runs does not count: it may have passed what this one is to look at. Also forgets what ended long ago.
    """
    await take_turns(session)
    await session.execute(delete(Operation).where(Operation.finished_at < func.now() - KEPT))
    waiting = select(Operation.id).where(
        Operation.kind == new.kind, Operation.origin == new.origin, Operation.status == OperationStatus.QUEUED
    )
    if await session.scalar(waiting.limit(1)) is not None:
        return None
    return await start(session, new)


async def any_since(session: AsyncSession, origins: Sequence[str], at: time) -> bool:
    """Tell whether one of these origins has asked for anything since it was last this time of the day (UTC)."""
    since = timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)
    query = select(Operation.id).where(Operation.origin.in_(origins), Operation.created_at >= _LATEST)
    return await session.scalar(query.limit(1), {"at": since}) is not None


async def get(session: AsyncSession, operation_id: UUID) -> Operation:
    """Return an operation as it is now, or raise `NotFound`."""
    operation = await session.get(Operation, operation_id)
    if operation is None:
        raise NotFound(f"there is no operation {operation_id}", code="operation_not_found")
    return operation


async def claim(
    session: AsyncSession, kinds: Sequence[str], worker: str, lease: timedelta = LEASE
) -> OperationClaim | None:
    """Claim what has been due for longest: queued, or left by a worker whose lease ran out."""
    row = (await session.execute(_CLAIM, {"kinds": kinds, "worker": worker, "lease": lease})).first()
    return None if row is None else OperationClaim(*row)


async def renew(session: AsyncSession, owned: OperationClaim, lease: timedelta = LEASE) -> bool:
    """Give an owned operation a fresh lease; False: it is not owned any more, as with all that follow."""
    return await _change(session, owned, lease_until=func.now() + lease)


async def report(session: AsyncSession, owned: OperationClaim, *, done: int, total: int) -> bool:
    """Write down how far it is."""
    return await _change(session, owned, done=done, total=total)


async def finish(session: AsyncSession, owned: OperationClaim, result: dict[str, Any]) -> bool:
    """→ `done`, with its result."""
    ended = _ended(OperationStatus.DONE)
    return await _change(session, owned, **ended, result=bindparam("result", result, JSONB()), total=Operation.done)


async def fail(session: AsyncSession, owned: OperationClaim, error: str) -> bool:
    """→ `failed`."""
    return await _change(session, owned, **_ended(OperationStatus.FAILED), error=error)


async def release(
    session: AsyncSession, owned: OperationClaim, delay: timedelta, *, refund: bool, error: str | None = None
) -> bool:
    """→ `queued`, to be begun afresh after the delay; `refund` gives the try back."""
    return await _change(
        session,
        owned,
        status=OperationStatus.QUEUED,
        lease_owner=None,
        lease_until=None,
        next_run_at=func.now() + delay,
        tries_left=Operation.tries_left + int(refund),
        error=error,
    )


async def bury(session: AsyncSession) -> Sequence[str]:
    """Give up what killed its workers on every try; return the kind of each."""
    return (await session.scalars(_BURY)).all()


def _ended(status: OperationStatus) -> dict[str, Any]:
    return {"status": status, "lease_owner": None, "lease_until": None, "finished_at": func.now()}


async def _change(session: AsyncSession, owned: OperationClaim, **values: Any) -> bool:
    still_owned: list[ColumnElement[bool]] = [
        Operation.id == owned.id,
        Operation.attempt == owned.attempt,
        Operation.status == OperationStatus.RUNNING,
        Operation.lease_until > func.now(),
    ]
    changed = update(Operation).where(*still_owned).values(**values).returning(Operation.id)
    return await session.scalar(changed) is not None
