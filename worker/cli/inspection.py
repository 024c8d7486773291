"""`likeness inspect`: all that is known of one image."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import inspect

from common.db import images
from common.db.base import Base
from common.db.models import Image
from common.errors import NotFound
from worker.cli.console import out, print_json, printable, table
from worker.cli.exits import plain_errors
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database


@plain_errors()
def inspect_image(
    image_id: Annotated[UUID, typer.Argument(metavar="ID", help="The image's id.")], as_json: Json = False
) -> None:
    """Show an image's row and its history, whoever owns it. Exit status 1: there is no such image."""
    row, events = asyncio.run(_load(read_settings(), image_id))
    if as_json:
        print_json({**row, "events": events})
        return
    fields = table("field", "value")
    for name, value in row.items():
        fields.add_row(name, _cell(value))
    out.print(fields)
    history = table("at", "from", "to", "attempt", "by", "code", title="History, oldest first")
    for event in events:
        columns = ("at", "from_status", "to_status", "attempt", "worker", "error_code")
        history.add_row(*(_cell(event[column]) for column in columns))
    out.print(history)


async def _load(settings: CliSettings, image_id: UUID) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    async with open_database(settings.database) as database, database.begin() as session:
        image = await session.get(Image, image_id)
        if image is None:
            raise NotFound(f"there is no image {image_id}", code="image_not_found")
        events = await images.list_events(session, image_id)
        row = _columns(image)
        if image.source_url is not None:
            row["source_url"] = image.source_url.partition("?")[0]  # a query may hold secrets
        return row, [_columns(event) for event in events]


def _columns(row: Base) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}


def _cell(value: object) -> str:
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    return "" if value is None or value == {} else printable(str(value))
