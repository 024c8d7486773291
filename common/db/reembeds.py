"""The operations that fill models' collections: a model has one that has not ended, and perhaps one that is to follow.

Its `params` are `{"model": label}`. Paused, it waits until somebody resumes it, and nobody starts another one.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import operations
from common.db.embedding_models import label
from common.db.models import EmbeddingModel, Operation
from common.db.operations import REEMBED, NewOperation
from common.status import OperationStatus

LEFT_BEHIND = "left_behind"
"""Origin of the fill that a worker asks for which had to finish an image without a building model's vector."""
_CATCH_UP_AFTER = timedelta(minutes=1)
"""Many images are left behind at once, and what left them may not be over yet."""

_WAITS = frozenset({OperationStatus.QUEUED, OperationStatus.PAUSED})
_LIVE = frozenset({OperationStatus.QUEUED, OperationStatus.RUNNING, OperationStatus.PAUSED})


async def find_live(session: AsyncSession, model: str) -> Operation | None:
    """Return the model's fill that has not ended: the one that runs, if any does."""
    query = _of(model).where(Operation.status.in_(_LIVE))
    fills = list(await session.scalars(query.order_by(Operation.created_at)))
    return next((fill for fill in fills if fill.status == OperationStatus.RUNNING), fills[0] if fills else None)


async def find_latest(session: AsyncSession, model: str) -> Operation | None:
    """Return the model's fill that was asked for last."""
    return await session.scalar(_of(model).order_by(Operation.created_at.desc()).limit(1))


async def start(session: AsyncSession, model: str, origin: str) -> Operation:
    """Return the model's fill, due now and resumed if it was paused; ask for one if there is none."""
    await operations.take_turns(session)
    await resume(session, model)
    await _change(session, model, {OperationStatus.QUEUED}, {"next_run_at": func.now()})
    found = await find_live(session, model)
    if found is None:
        operation_id = await operations.start(session, NewOperation(REEMBED, origin, {"model": model}))
        found = await operations.get(session, operation_id)
    return found


async def catch_up(session: AsyncSession, model_ids: Collection[int]) -> None:
    """Ask for fills of models that images were finished without, unless these wait for one already.

    One that runs does not count: it may have passed those images.
    """
    if not model_ids:
        return
    await operations.take_turns(session)
    for model in await session.scalars(select(EmbeddingModel).where(EmbeddingModel.id.in_(model_ids))):
        if await session.scalar(_of(label(model)).where(Operation.status.in_(_WAITS)).limit(1)) is None:
            wanted = NewOperation(REEMBED, LEFT_BEHIND, {"model": label(model)}, _CATCH_UP_AFTER)
            await operations.start(session, wanted)


async def pause(session: AsyncSession, model: str) -> list[UUID]:
    """Put the model's fills aside; whoever does one loses it. Return their ids."""
    waits = {"status": OperationStatus.PAUSED, "lease_owner": None, "lease_until": None}
    return await _change(session, model, {OperationStatus.QUEUED, OperationStatus.RUNNING}, waits)


async def resume(session: AsyncSession, model: str) -> list[UUID]:
    """Have the model's paused fills go on where points are missing; return their ids."""
    return await _change(
        session, model, {OperationStatus.PAUSED}, {"status": OperationStatus.QUEUED, "next_run_at": func.now()}
    )


async def give_up(session: AsyncSession, model: str) -> None:
    """End the model's fills: it is retired."""
    ended = {
        "status": OperationStatus.FAILED,
        "lease_owner": None,
        "lease_until": None,
        "finished_at": func.now(),
        "error": "The model was retired.",
    }
    await _change(session, model, _LIVE, ended)


async def _change(
    session: AsyncSession, model: str, statuses: Collection[OperationStatus], values: Mapping[str, object]
) -> list[UUID]:
    chosen = (Operation.kind == REEMBED, Operation.params["model"].astext == model, Operation.status.in_(statuses))
    changed = update(Operation).where(*chosen).values(values).returning(Operation.id)
    return list(await session.scalars(changed.execution_options(synchronize_session=False)))


def _of(model: str) -> Select[Operation]:
    return select(Operation).where(Operation.kind == REEMBED, Operation.params["model"].astext == model)
