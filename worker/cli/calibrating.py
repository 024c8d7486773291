"""`likeness calibrate`: have a worker measure what the active model's scores mean, and show that."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from common.calibration import DEFAULT_SAMPLE, LARGEST_SAMPLE, LEAST, LEAST_TITLED, Measured
from common.db import operations
from common.db.models import Operation
from common.db.operations import CALIBRATE, NewOperation
from common.status import OperationStatus
from worker.cli.console import out, print_json, printable, say, table
from worker.cli.exits import Exit, plain_errors
from worker.cli.following import follow, leaving_behind
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database

ORIGIN = "cli"

_MEANINGS = {
    "near_duplicate": "the same picture: scaled, recompressed, cropped a little",
    "similar": "more alike than almost all pairs of images",
    "text_match": "a text describes an image",
}


@plain_errors()
def calibrate(
    sample: Annotated[
        int, typer.Option(min=LEAST, max=LARGEST_SAMPLE, help="How many images to look at.")
    ] = DEFAULT_SAMPLE,
    as_json: Json = False,
) -> None:
    """Measure on a sample of the images what the active model's scores mean. A worker does it; this command follows.

    Searches say by these thresholds that nothing is a good match. Exit status 1: it could not be measured.
    """
    ended = asyncio.run(_run(read_settings(), NewOperation(CALIBRATE, ORIGIN, {"sample": sample})))
    result = ended.result or {}
    problem = ended.error if ended.status == OperationStatus.FAILED else result.get("problem")
    if problem is not None:
        say(f"Nothing was measured: {problem}")
        raise typer.Exit(Exit.FOUND)
    measured = Measured.model_validate(result)
    if as_json:
        print_json({"id": ended.id, **measured.model_dump(mode="json")})
    else:
        _show(measured)


async def _run(settings: CliSettings, wanted: NewOperation) -> Operation:
    async with (
        open_database(settings.database) as database,
        leaving_behind("The calibration", "likeness models"),
    ):
        async with database.begin() as session:
            operation_id: UUID = await operations.start(session, wanted)
        return await follow(database, operation_id, "Calibrating")


def _show(measured: Measured) -> None:
    shown = table("threshold", "score", "from here on")
    for name, score in measured.thresholds.model_dump().items():
        shown.add_row(name, f"{score:.3f}", _MEANINGS[name])
    out.print(f"{printable(measured.model)}, measured on {measured.images:,} images:")
    out.print(shown)
    out.print(f"{measured.variants_found:.0%} of {measured.variants:,} changed pictures are found as near duplicates.")
    if not measured.titles:
        out.print(
            f"Fewer than {LEAST_TITLED} of them have titles of their own: text_match is what is rare for everyday "
            "sentences, no more."
        )
