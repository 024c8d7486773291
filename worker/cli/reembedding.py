"""`likeness reembed`: fill another model's collection while searches go on, then switch to it, and back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import model_lifecycle, reembeds
from common.db.embedding_models import label
from common.db.engine import Database
from common.db.model_lifecycle import Switch
from common.db.models import Operation
from common.errors import NotFound
from common.status import OperationStatus
from worker.cli.console import out, print_json, printable, say
from worker.cli.exits import Exit, plain_errors
from worker.cli.following import follow as follow_operation
from worker.cli.following import leaving_behind
from worker.cli.models import show_models, take_models
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database
from worker.reembed.report import ReembedReport

_ORIGIN = "cli"
_SHOWN = 20

Answer = TypeVar("Answer")


@plain_errors()
def reembed(
    model: Annotated[str | None, typer.Option(help="The model, as the embedder names it: `ViT-B-32/openai`.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until the fill has ended.")] = False,
    promote: Annotated[bool, typer.Option("--promote", help="Search with this model from now on.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Search with the model before this one again.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Put the fill aside.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fill that was put aside.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show the models and their fills.")] = False,
    as_json: Json = False,
) -> None:
    """Embed all images by another model, in the background; then switch to it, and back.

    Exit status 1: images are left that can't be embedded, or the switch was refused.
    """
    wishes = [promote, rollback, pause, resume, status]
    if sum(wishes) > 1 or (follow and (promote or rollback or pause or status)):
        raise typer.BadParameter("one at a time")
    if model is None and not (rollback or status):
        raise typer.BadParameter("which --model?")
    settings = read_settings()
    if status:
        found = asyncio.run(take_models(settings))
        show_models([each for each in found if model in {None, each.label}], as_json=as_json)
    elif rollback:
        _say_switch(_do(settings, model_lifecycle.roll_back), as_json=as_json)
    elif model is not None and promote:
        _say_switch(_do(settings, lambda session: model_lifecycle.promote(session, model)), as_json=as_json)
    elif model is not None and pause:
        _do(settings, lambda session: _pause(session, model))
        say(f"The fill of {model} is paused; `likeness reembed --model {model} --resume` goes on.")
    elif model is not None:
        asyncio.run(_fill(settings, model, follow=follow, resume=resume, as_json=as_json))


def _do(settings: CliSettings, work: Callable[[AsyncSession], Awaitable[Answer]]) -> Answer:
    """Do something in one transaction."""

    async def run() -> Answer:
        async with open_database(settings.database) as database, database.begin() as session:
            return await work(session)

    return asyncio.run(run())


async def _pause(session: AsyncSession, model: str) -> None:
    if not await reembeds.pause(session, model):
        raise NotFound(f"no fill of {model} waits or runs", code="fill_not_found")


async def _fill(settings: CliSettings, model: str, *, follow: bool, resume: bool, as_json: bool) -> None:
    async with open_database(settings.database) as database:
        async with database.begin() as session:
            if resume and not await reembeds.resume(session, model):
                raise NotFound(f"no fill of {model} is paused", code="fill_not_found")
            fill = await reembeds.start(session, model, _ORIGIN)
        if follow:
            _end(await _follow(database, model, fill.id), as_json=as_json)
        elif as_json:
            print_json({"id": fill.id, "model": model, "status": fill.status})
        else:
            say(f"A worker fills {model}; `likeness reembed --model {model} --follow` shows how far it is.")


async def _follow(database: Database, model: str, operation_id: UUID) -> Operation:
    async with leaving_behind("The fill", f"likeness reembed --model {model} --follow"):
        return await follow_operation(database, operation_id, "Embedding")


def _end(ended: Operation, *, as_json: bool) -> None:
    """Show what came of a fill."""
    if ended.status == OperationStatus.FAILED:
        say(f"The fill failed: {ended.error}")
        raise typer.Exit(Exit.FOUND)
    report = ReembedReport.model_validate(ended.result)
    if as_json:
        print_json({"id": ended.id, **report.model_dump(mode="json")})
    else:
        out.print(f"{report.model}: {report.added:,} images embedded, {report.left:,} are left.")
        for item in report.items[:_SHOWN]:
            out.print(f"  {item.id}  {item.code}: {printable(item.detail)}", soft_wrap=True)
        if report.failed > _SHOWN:
            out.print(f"  … {report.failed:,} failed in all")
    if report.left:
        raise typer.Exit(Exit.FOUND)


def _say_switch(switch: Switch, *, as_json: bool) -> None:
    if as_json:
        print_json({"active": label(switch.active), "former": label(switch.former)})
    else:
        out.print(f"Searches use {label(switch.active)}; {label(switch.former)} is kept up to date.")
