"""`likeness import`: upload whole folders, resumably."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from common.api_client import ApiClient, Patience
from common.connection_file import find_api_url
from common.errors import InvalidInput, LikenessError
from worker.cli.exits import Exit, plain_errors
from worker.cli.files import LocalFile, find_files
from worker.cli.import_display import ImportDisplay, print_summary
from worker.cli.importer import Importer, Score
from worker.cli.journal import Journal, default_path
from worker.cli.options import Json

_DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class _Plan:
    server: str
    fields: dict[str, str | list[str]]
    journal: Path
    wait: bool


@plain_errors()
def import_images(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR", exists=True, help="Folders or files.")],
    url: Annotated[str | None, typer.Option(help="The API. Default: LIKENESS_URL, or the local stack's.")] = None,
    folder: Annotated[UUID | None, typer.Option(help="Id of the folder to import to.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of every image; may be repeated.")] = None,
    category: Annotated[str | None, typer.Option(help="Category of every image.")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Where to note what was accepted. Default: in the user's state directory.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every image is done or in error.")] = False,
    as_json: Json = False,
) -> None:
    """Upload folders through the HTTP API. Run it again to go on: what was accepted is not sent again.

    Every file but hidden ones is sent; the server decides what is an image.
    Exit status 1: a file was rejected or, with --wait, could not be made searchable.
    """
    server = (url or find_api_url() or _DEFAULT_URL).rstrip("/")
    given = {"folder_id": folder and str(folder), "category": category, "tags": tag}
    fields = {name: value for name, value in given.items() if value}
    plan = _Plan(server, fields, journal or default_path(server, folder), wait)
    asyncio.run(_check(server))
    score = Score()
    try:
        _run(plan, find_files(paths), score)
    except OSError as error:
        raise InvalidInput(f"{error.filename or 'the import'}: {error.strerror or error}") from error
    print_summary(score, plan.journal, waited=wait, as_json=as_json)
    if score.rejected or score.failed:
        raise typer.Exit(Exit.FOUND)


async def _check(server: str) -> None:
    async with ApiClient(server) as client:
        await client.check()


def _run(plan: _Plan, files: Sequence[LocalFile], score: Score) -> None:
    try:
        with Journal(plan.journal) as journal, ImportDisplay(score) as display:
            asyncio.run(_import(plan, files, journal, score, display))
    except (LikenessError, KeyboardInterrupt, OSError) as error:
        error.add_note(
            f"{score.answered:,} of {len(files):,} files are dealt with. The same command goes on from there."
        )
        raise


async def _import(
    plan: _Plan, files: Sequence[LocalFile], journal: Journal, score: Score, display: ImportDisplay
) -> None:
    async with ApiClient(plan.server, Patience(on_pause=display.pause)) as client:
        importer = Importer(client, journal, plan.fields, score, display.refresh)
        await importer.send(files)
        if plan.wait:
            await importer.wait()
