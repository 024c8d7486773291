"""`likeness audit`: ask the workers for an audit, follow it, show what it found."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from common.db import operations
from common.db.models import Operation
from common.db.operations import AUDIT, NewOperation
from common.status import OperationStatus
from worker.audit.report import Report
from worker.cli.console import out, print_json, printable, say, table
from worker.cli.exits import Exit, plain_errors
from worker.cli.following import follow as follow_operation
from worker.cli.following import leaving_behind
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database

ORIGIN = "cli"
SHOWN = 20
"""Ids of each kind that are printed for people; JSON has up to a thousand."""


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
        async with leaving_behind("The audit", f"likeness audit --follow {operation_id}"):
            if isinstance(wanted, NewOperation):
                async with database.begin() as session:
                    await operations.start(session, wanted)
            return await follow_operation(database, operation_id, "Auditing")


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
