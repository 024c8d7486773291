"""`likeness models`: which models there are, and how many images each has. `likeness retire`: the end of one."""

import asyncio
from typing import Annotated

import typer

from common.db import model_lifecycle, model_overview, operations, reembeds
from common.db.images import GRACE
from common.db.model_overview import ModelOverview
from common.db.models import Operation
from common.db.operations import RETIRE, NewOperation
from common.errors import Conflict
from worker.cli.console import out, print_json, say, table
from worker.cli.exits import plain_errors
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database

_ORIGIN = "cli"


@plain_errors()
def models(as_json: Json = False) -> None:
    """List the models, how many images each has a vector of, and how many it lacks."""
    show_models(asyncio.run(take_models(read_settings())), as_json=as_json)


@plain_errors()
def retire(
    label: Annotated[str, typer.Argument(help="The model, as `likeness models` has it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
) -> None:
    """Give a model up for good: its vectors are removed, and new images get none by it."""
    if not yes and not typer.confirm(f"Remove all vectors of {label}?", err=True):
        raise Conflict("nothing was done")
    asyncio.run(_retire(read_settings(), label))
    say(f"{label} is retired. A worker removes its vectors in {GRACE.total_seconds() / 60:g} minutes.")


async def take_models(settings: CliSettings) -> list[ModelOverview]:
    """Look at all models."""
    async with open_database(settings.database) as database, database.begin() as session:
        return await model_overview.take(session)


def show_models(found: list[ModelOverview], *, as_json: bool) -> None:
    """Print models as a table, or as JSON."""
    if as_json:
        print_json({"models": [as_data(each) for each in found]})
        return
    rows = table("model", "state", "dimensions", "images", "missing", "fill")
    for column in rows.columns[2:5]:
        column.justify = "right"
    for each in found:
        missing = "" if each.missing is None else f"{each.missing:,}"
        rows.add_row(
            each.label, each.model.state, f"{each.model.dim}", f"{each.indexed:,}", missing, _say_fill(each.fill)
        )
    out.print(rows)


def as_data(found: ModelOverview) -> dict[str, object]:
    """Return a model for machines."""
    model, fill = found.model, found.fill
    return {
        "label": found.label,
        "name": model.name,
        "pretrained": model.pretrained,
        "state": model.state,
        "dim": model.dim,
        "preprocess_version": model.preprocess_version,
        "collection": model.collection,
        "images": found.indexed,
        "missing": found.missing,
        "filled_at": model.filled_at,
        "promoted_at": model.promoted_at,
        "fill": fill
        and {
            "id": fill.id,
            "status": fill.status,
            "done": fill.done,
            "total": fill.total,
            "error": fill.error,
            "result": fill.result,
        },
    }


def _say_fill(fill: Operation | None) -> str:
    if fill is None:
        return ""
    far = f" {fill.done:,} of {fill.total:,}" if fill.total is not None else ""
    return f"{fill.status}{far}" + (f": {fill.error}" if fill.error else "")


async def _retire(settings: CliSettings, label: str) -> None:
    async with open_database(settings.database) as database, database.begin() as session:
        model = await model_lifecycle.retire(session, label)
        await reembeds.give_up(session, label)
        remains = {"model_id": model.id, "collection": model.collection, "dim": model.dim}
        # Who is at work on an image still writes to the collection, and a search may be under way in it.
        await operations.start(session, NewOperation(RETIRE, _ORIGIN, remains, GRACE))
