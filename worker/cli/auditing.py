"""`likeness audit`: ask the workers for an audit, follow it, show what it found."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.db import operations
from common.db.engine import Database
from common.db.models import Operation
from common.db.operations import AUDIT, NewOperation
from common.errors import LikenessError
from common.status import OperationStatus
from worker.audit.report import Report
from worker.cli.console import notes, out, print_json, printable, say, table
from worker.cli.exits import Exit, plain_errors
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database

ORIGIN = "cli"
SHOWN = 20
"""Ids of each kind that are printed for people; JSON has up to a thousand."""
_POLL_S = 0.5
_PATIENCE_S = 15.0
_ENDED = frozenset({OperationStatus.DONE, OperationStatus.FAILED})


@plain_errors()
def audit(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without a guess.")] = False,
    sample: Annotated[int | None, typer.Option(min=1, help="Only a random stretch of about so many images.")] = None,
    follow: Annotated[UUID | None, typer.Option(help="Start none; follow the audit with this id.")] = None,
    as_json: Json = False,
) -> None:
    """Compare rows, objects, vectors and model. A worker does it; this command follows.

    Exit status 1: something is wrong and was not mended.
    """
    if follow and (fix or sample):
        raise typer.BadParameter("--follow starts no audit: --fix and --sample were decided when it was started")
    settings = read_settings()
    wanted = follow or NewOperation(AUDIT, ORIGIN, {"fix": fix, "sample": sample})
    ended = asyncio.run(_run(settings, wanted))
    if ended.status == OperationStatus.FAILED:
        say(f"The audit failed: {ended.error}")
        raise typer.Exit(Exit.FOUND)
    report = Report.model_validate(ended.result)
    if as_json:
        print_json({"id": ended.id, "found": report.found, "left": report.left, **report.model_dump(mode="json")})
    else:
        _show(report)
    if report.left:
        raise typer.Exit(Exit.FOUND)


async def _run(settings: CliSettings, wanted: NewOperation | UUID) -> Operation:
    """Ask for an audit, or take one that was asked for, and follow it to its end."""
    operation_id = wanted if isinstance(wanted, UUID) else wanted.id
    async with open_database(settings.database) as database:
        if isinstance(wanted, UUID):
            async with database.begin() as session:
                await operations.get(session, wanted)
        try:
            if isinstance(wanted, NewOperation):
                async with database.begin() as session:
                    await operations.start(session, wanted)
            return await _follow(database, operation_id)
        except (LikenessError, asyncio.CancelledError):
            say(f"The audit goes on without this command: `likeness audit --follow {operation_id}`.")
            raise


async def _follow(database: Database, operation_id: UUID) -> Operation:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Without a terminal nothing moves, and so nothing is drawn.
    progress = Progress(*columns, TimeElapsedColumn(), console=notes, transient=True, disable=not notes.is_terminal)
    with progress:
        return await _wait(database, operation_id, progress)


async def _wait(database: Database, operation_id: UUID, progress: Progress) -> Operation:
    task = progress.add_task("Waiting for a worker", total=None)
    waited_s: float = 0
    told: str | None = None
    while True:
        async with database.begin() as session:
            found = await operations.get(session, operation_id)
        if found.status in _ENDED:
            return found
        running = found.status == OperationStatus.RUNNING
        description = "Auditing" if running else "Waiting for a worker"
        progress.update(task, description=description, completed=found.done, total=found.total)
        waited_s = 0 if running else waited_s + _POLL_S
        problem = found.error or ("no worker has taken it yet; is one running?" if waited_s > _PATIENCE_S else None)
        if problem is not None and problem != told:
            say(f"Waiting: {problem}")
            told = problem
        await asyncio.sleep(_POLL_S)


def _show(report: Report) -> None:
    checked = report.checked
    out.print(f"Checked {checked.images:,} images, {checked.objects:,} objects and {checked.points:,} vectors.")
    if report.in_motion:
        out.print(f"{report.in_motion:,} images were in motion and not judged.")
    if not report.found:
        out.print("All agree.")
        return
    counts = table("mismatch", "found", "mended")
    for column in counts.columns[1:]:
        column.justify = "right"
    for kind, tally in report.mismatches.items():
        left = tally.count > tally.fixed
        counts.add_row(kind, f"{tally.count:,}", f"{tally.fixed:,}", style="red" if left else None)
    out.print(counts)
    for kind, tally in report.mismatches.items():
        out.print(f"{kind}:")
        for item in tally.items[:SHOWN]:
            out.print(f"  {item.id}" + (f"  {printable(item.detail)}" if item.detail else ""), soft_wrap=True)
        if tally.count > SHOWN:
            out.print(f"  … and {tally.count - SHOWN:,} more")
