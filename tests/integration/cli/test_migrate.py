"""`likeness migrate`."""

from sqlalchemy import text

from common.db.engine import Database
from tests.fixtures.cli import Run


async def test_migrate_goes_up_to_head_and_says_from_where(run: Run, empty_database_url: str) -> None:
    first = await run("migrate", DATABASE__URL=empty_database_url)
    assert (first.status, "an empty database" in first.out) == (0, True)
    second = await run("migrate", DATABASE__URL=empty_database_url)
    assert (second.status, "already" in second.out) == (0, True)
    assert (await run("status", DATABASE__URL=empty_database_url)).status == 0


async def test_migrate_leaves_the_database_of_a_later_version_alone(run: Run, database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ran = await run("migrate")
    assert ran.status == 1
    assert "9999" in ran.err
