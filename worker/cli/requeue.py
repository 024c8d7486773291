"""`likeness requeue`: try failed images again, or have `done` ones processed once more."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal
from uuid import UUID

import typer
from arq.connections import ArqRedis
from rich.progress import track

from common import jobs
from common.db import embedding_models, lifecycle, selection
from common.db.attempts import Fence
from common.db.engine import Database
from common.db.selection import Selection
from common.errors import QueueUnavailable
from common.settings import RedisSettings
from common.status import ImageStatus
from worker.cli.console import notes, out, print_json, say
from worker.cli.exits import Exit, plain_errors
from worker.cli.options import Json, parse_span
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database, open_queue

DRY_ABOVE = 100
BATCH = 500
_REQUEUED_BY = "cli"
_RUN_AGAIN = "run_again"
"""In the history, why a `done` image was processed once more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the command did, or would do."""

    selected: int
    requeued: int
    dry_run: bool
    """Nothing was requeued, as asked for or because so many need `--yes`."""
    not_in_error: list[UUID]
    """Ids that were asked for, but are unknown, not in `error`, or left out by another condition."""


@plain_errors()
def requeue(
    ids: Annotated[list[UUID] | None, typer.Argument(metavar="IDS", help="Only these images.")] = None,
    status: Annotated[
        Literal["error", "done"] | None,
        typer.Option(help="All images in this state; `done` ones go through the pipeline's stages once more."),
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only images with this error code.")] = None,
    folder: Annotated[UUID | None, typer.Option(help="Only images in the folder with this id.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Only images that this model was tried on last, e.g. ViT-B-32/openai.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Only what failed within this time: 90s, 30m, 2h, 7d.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, those that failed first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=f"Requeue also more than {DRY_ABOVE}.")] = False,
    as_json: Json = False,
) -> None:
    """Put images in `error` back to `pending`, with all their tries; failed downloads are tried again.

    With --status done: images that are fine, for the sake of stages that see something else in them by now.
    Conditions add up. More than 100 are only counted, unless --yes is given.
    Works with Redis down too: the workers' sweep finds the images within seconds.
    Exit status 1: some of the IDS could not be requeued, or --yes is missing.
    """
    if not (ids or status or code or folder or model or since):
        raise typer.BadParameter("say which: IDS, --code, --folder, --model, --since, or --status error for all")
    if status == "done" and (ids or code or since):
        raise typer.BadParameter("IDS, --code and --since are about failed images; --status done is not")
    wanted = Selection(
        ids or None,
        code,
        folder,
        since=parse_span(since) if since else None,
        limit=limit,
        status=ImageStatus(status or ImageStatus.ERROR),
    )
    settings = read_settings()
    found = asyncio.run(_find(settings, wanted, model))
    unconfirmed = len(found) > DRY_ABOVE and not yes
    dry = dry_run or unconfirmed
    requeued = 0 if dry or not found else asyncio.run(_requeue(settings, found, wanted.status))
    left_out = [] if limit else sorted(set(ids or ()) - {fence.id for fence in found})
    outcome = Outcome(len(found), requeued, dry, left_out)
    if as_json:
        print_json(asdict(outcome))
    else:
        _show(outcome, wanted.status)
    if unconfirmed and not dry_run:
        say(f"These are more than {DRY_ABOVE}: add --yes to requeue them, or --limit.")
        raise typer.Exit(Exit.FOUND)
    if outcome.not_in_error:
        raise typer.Exit(Exit.FOUND)


async def _find(settings: CliSettings, wanted: Selection, model: str | None) -> list[Fence]:
    async with open_database(settings.database) as database, database.begin() as session:
        if model is not None:
            wanted = replace(wanted, model_ids=await embedding_models.find_labelled(session, model))
        return await selection.find_selected(session, wanted)


async def _requeue(settings: CliSettings, found: Sequence[Fence], status: ImageStatus) -> int:
    async with open_database(settings.database) as database, AsyncExitStack() as stack:
        return await _move(database, await _find_queue(stack, settings.redis), found, status)


async def _find_queue(stack: AsyncExitStack, settings: RedisSettings) -> ArqRedis | None:
    try:
        return await stack.enter_async_context(open_queue(settings))
    except QueueUnavailable as error:
        say(f"Note: {error}. No worker is woken; their sweep finds the images within seconds.")
        return None


async def _move(database: Database, redis: ArqRedis | None, found: Sequence[Fence], status: ImageStatus) -> int:
    """Requeue batch by batch, a transaction each; return how many moved: somebody else may have requeued some."""
    moved_in_all = 0
    starts = range(0, len(found), BATCH)
    for start in track(starts, "Requeueing", console=notes, disable=len(starts) == 1, transient=True):
        batch = found[start : start + BATCH]
        async with database.begin() as session:
            if status == ImageStatus.DONE:
                moved = await lifecycle.redo(session, batch, _REQUEUED_BY, _RUN_AGAIN)
            else:
                moved = await lifecycle.requeue(session, [fence.id for fence in batch], requeued_by=_REQUEUED_BY)
        if redis is not None:
            await jobs.hint(redis, list(moved))
        moved_in_all += len(moved)
    return moved_in_all


def _show(outcome: Outcome, status: ImageStatus) -> None:
    if outcome.dry_run:
        out.print(f"{outcome.selected:,} images would be requeued.")
    elif outcome.selected:
        out.print(f"Requeued {outcome.requeued:,} images.")
    else:
        out.print("No image in error matches." if status == ImageStatus.ERROR else "No done image matches.")
    for image_id in outcome.not_in_error:
        say(f"{image_id} is not requeued: unknown, not in error, or left out by another condition.")
