"""Following an operation that a worker does, from the command line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.db import operations
from common.db.engine import Database
from common.db.models import Operation
from common.errors import LikenessError
from common.status import OperationStatus
from worker.cli.console import notes, say

_POLL_S = 0.5
_PATIENCE_S = 15.0
_ENDED = frozenset({OperationStatus.DONE, OperationStatus.FAILED})


@asynccontextmanager
async def leaving_behind(what: str, command: str) -> AsyncIterator[None]:
    """Say, when what is inside breaks off, that the work goes on, and how to see it again."""
    try:
        yield
    except (LikenessError, asyncio.CancelledError):
        say(f"{what} goes on without this command: `{command}`.")
        raise


async def follow(database: Database, operation_id: UUID, doing: str) -> Operation:
    """Show how far an operation is until it has ended; `doing` says what it does, as in "Auditing"."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Without a terminal nothing moves, and so nothing is drawn.
    progress = Progress(*columns, TimeElapsedColumn(), console=notes, transient=True, disable=not notes.is_terminal)
    with progress:
        return await _wait(database, operation_id, progress, doing)


async def _wait(database: Database, operation_id: UUID, progress: Progress, doing: str) -> Operation:
    task = progress.add_task("Waiting for a worker", total=None)
    waited_s: float = 0
    told: str | None = None
    while True:
        async with database.begin() as session:
            found = await operations.get(session, operation_id)
        if found.status in _ENDED:
            return found
        running = found.status == OperationStatus.RUNNING
        description = doing if running else "Waiting for a worker"
        progress.update(task, description=description, completed=found.done, total=found.total)
        waited_s = 0 if running else waited_s + _POLL_S
        problem = _say_why(found, waited_s)
        if problem is not None and problem != told:
            say(f"Waiting: {problem}")
            told = problem
        await asyncio.sleep(_POLL_S)


def _say_why(operation: Operation, waited_s: float) -> str | None:
    if operation.status == OperationStatus.PAUSED:
        return "it is paused"
    return operation.error or ("no worker has taken it yet; is one running?" if waited_s > _PATIENCE_S else None)
