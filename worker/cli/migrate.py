"""`likeness migrate`: bring the database up to this version."""

import asyncio

import typer

from common.db import overview
from common.db.revision import head_revision
from common.settings import DatabaseSettings
from worker.cli.console import out, say
from worker.cli.exits import Exit, plain_errors
from worker.cli.settings import read_settings
from worker.cli.stores import open_database


@plain_errors()
def migrate() -> None:
    """Migrate the database up to the revision that this version needs. Running services wait while it lasts."""
    # Alembic, which no other command needs, would slow them all.
    from alembic.util.exc import CommandError  # noqa: PLC0415

    from common.db.migrate import upgrade  # noqa: PLC0415

    settings = read_settings().database
    found, needed = asyncio.run(_find_revision(settings)), head_revision()
    if found == needed:
        out.print(f"The database is at revision {needed} already.")
        return
    try:
        upgrade(settings.url.get_secret_value())
    except CommandError:
        say(f"The database is at revision {found}, which this version ({needed}) does not know: it is a later one's.")
        raise typer.Exit(Exit.FOUND) from None
    out.print(f"Migrated from revision {found or 'none (an empty database)'} to {needed}.")


async def _find_revision(settings: DatabaseSettings) -> str | None:
    async with open_database(settings, any_revision=True) as database, database.begin() as session:
        return await overview.find_revision(session)
