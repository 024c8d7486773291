"""Which revision of the schema this code is written for, and that a database is at it.

Alembic, which migrates, knows it too. It takes a tenth of a service's start to import, and services only compare.
"""

from pathlib import Path

from asyncpg import UndefinedTableError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from common.db.engine import Database
from common.errors import ConfigurationError

SCRIPTS = Path(__file__).parents[2] / "alembic"


def head_revision() -> str:
    """Return the revision this code is written for: migrations are numbered in their order, `0001_what.py`."""
    return known_revisions()[-1]


def known_revisions() -> list[str]:
    """Return all revisions that this code has migrations for, in their order."""
    numbers = [path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*_*.py")]
    if not numbers:
        raise ConfigurationError("no migrations found beside the code")
    return sorted(numbers)


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
