"""Schema migrations: bring a database up to date, and refuse to serve on any other revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from asyncpg import UndefinedTableError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from common.db.engine import Database
from common.errors import ConfigurationError

_SCRIPTS = Path(__file__).parents[2] / "alembic"


def alembic_config(database_url: str) -> Config:
    """Return Alembic's configuration for this project's migrations on `database_url`."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate up to `revision`. Blocks; not for use inside a running event loop."""
    command.upgrade(alembic_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Migrate down to `revision` (`base` removes everything). Blocks."""
    command.downgrade(alembic_config(database_url), revision)


def head_revision() -> str:
    """Return the revision this code is written for."""
    head = ScriptDirectory(str(_SCRIPTS)).get_current_head()
    if head is None:
        raise ConfigurationError("no migrations found beside the code")
    return head


async def check_revision(database: Database) -> None:
    """Make sure the database is at this code's revision.

    Raises:
        ConfigurationError: it is not; the message says what to run.
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    try:
        async with database.begin() as session:
            found = await session.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != UndefinedTableError.sqlstate:
            raise
        found = None  # an empty database
    head = head_revision()
    if found != head:
        raise ConfigurationError(
            f"the database is at revision {found or 'none'}, this version needs {head}: run `likeness migrate`",
            code="wrong_database_revision",
        )
