"""The state machine of `common.status` in PostgreSQL: claims, fenced moves, and what the sweep heals.

Every function takes many images and is one statement, of `common.db.lifecycle_statements`. A worker's move carries a
`Fence`: it touches a row only while `attempt` is still the worker's own and the lease has not run out by the
database's clock; rows it could not touch are missing from the answer, which means the ownership was lost.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row, TextClause
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import counted_moves
from common.db import lifecycle_statements as statements
from common.db.attempts import LEASE, Claim, Failure, Fence, Finish, Finished, Release
from common.db.model_lock import hold_models
from common.db.models import TRIES
from common.transitions import Move


async def claim(
    session: AsyncSession, ids: Sequence[UUID], worker: str, lease: timedelta = LEASE, *, model_id: int | None = None
) -> list[Claim]:
    """Claim those of `ids` that are due: `pending`, or leased to a worker whose lease ran out.

    `model_id` says by which model they are to be embedded; with None the row says nothing of it.
    """
    given = {"ids": ids, "worker": worker, "lease": lease, "model_id": model_id}
    return [_claim(row) for row in await _execute(session, statements.CLAIM, given)]


def _claim(row: Row[Any]) -> Claim:
    values = tuple(row)[:-1]
    return Claim(*values)


async def renew(session: AsyncSession, fences: Sequence[Fence], lease: timedelta = LEASE) -> set[UUID]:
    """Give each owned image a fresh lease; return those that were still owned."""
    return set(await session.scalars(statements.RENEW, _with_fences(fences, {"lease": lease})))


async def advance(session: AsyncSession, fences: Sequence[Fence]) -> dict[UUID, Move]:
    """`embedding` → `indexing`; return those that were still owned."""
    return await _move(session, statements.ADVANCE, fences)


async def finish(session: AsyncSession, finishes: Sequence[Finish]) -> dict[UUID, Finished]:
    """`indexing` → `done`, or back to `pending`; return what came of those that were still owned.

    Which model is active can't change before this transaction ends.
    """
    await hold_models(session)
    rows = await _execute(
        session,
        statements.FINISH,
        {
            "ids": [item.fence.id for item in finishes],
            "attempts": [item.fence.attempt for item in finishes],
            "payload_version": [item.payload_version for item in finishes],
            "image_ids": [item.fence.id for item in finishes for _ in item.model_ids],
            "model_ids": [model_id for item in finishes for model_id in item.model_ids],
        },
    )
    return {
        row.id: Finished(row.served, tuple(row.lacking), Move(*tuple(row)[: statements.MOVE]), row.first_done_s)
        for row in rows
    }


async def fail(session: AsyncSession, failures: Sequence[Failure]) -> dict[UUID, Move]:
    """→ `error` with code and message; return those that were still owned."""
    return await _move(
        session,
        statements.FAIL,
        [item.fence for item in failures],
        code=[item.code for item in failures],
        message=[item.message for item in failures],
    )


async def release(session: AsyncSession, releases: Sequence[Release]) -> dict[UUID, Move]:
    """→ `pending`, to run after the delay; return those that were still owned."""
    return await _move(
        session,
        statements.RELEASE,
        [item.fence for item in releases],
        delay=[item.delay for item in releases],
        refund=[int(item.refund) for item in releases],
        code=[item.code for item in releases],
    )


async def mark_stored(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, Move]:
    """`created` → `pending`, once the object is stored; return those that moved."""
    return await moved(session, statements.STORED, {"ids": ids})


async def requeue(session: AsyncSession, ids: Sequence[UUID], requeued_by: str) -> dict[UUID, Move]:
    """`error` → `pending` with all tries; `attempt`, the fence, is kept. Return those that moved.

    An import that was given up before it had its bytes goes back to `created`: it is downloaded again.
    """
    return await moved(session, statements.REQUEUE, {"ids": ids, "tries": TRIES, "requeued_by": requeued_by})


async def redo(session: AsyncSession, fences: Sequence[Fence], redone_by: str, code: str) -> dict[UUID, Move]:
    """`done` → `pending`, with all tries: the pipeline is to make again what an audit found missing, named by `code`.

    So it is when an operator has the stages run once more. Return those that moved: no other attempt has claimed or
    finished them since their rows were read.
    """
    return await _move(session, statements.REDO, fences, tries=TRIES, redone_by=redone_by, code=code)


async def bury(session: AsyncSession) -> dict[UUID, Move]:
    """Give up what killed its workers on every try: expired leases with no try left → `error`."""
    return await moved(session, statements.BURY, {})


async def find_due(session: AsyncSession, *, overdue: timedelta, limit: int) -> list[UUID]:
    """Find what waits without a hint: `pending` for at least `overdue`, or leased with the lease run out."""
    return list(await session.scalars(statements.FIND_DUE, {"overdue": overdue, "limit": limit}))


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
