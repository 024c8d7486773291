"""A database that an earlier test has used is as new, or is not used again."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.engine import Database
from common.errors import DatabaseUnavailable
from tests.fixtures.database import clean
from tests.fixtures.rows import count, create_folder, new_image, record

TABLES = ("users", "folders", "images", "image_events", "embedding_models", "operations", "alembic_version")


async def rows(database: Database) -> list[int]:
    return [await count(database, table) for table in TABLES]


async def test_rows_of_a_test_are_forgotten_and_the_first_ones_restored(database: Database, database_url: str) -> None:
    before = await rows(database)
    (first,) = await record(database, new_image())
    await create_folder(database)
    async with database.begin() as session:
        await session.execute(text("UPDATE users SET name = 'renamed'"))
        await session.execute(text("UPDATE alembic_version SET version_num = 'other'"))
        number = await session.scalar(text("SELECT min(id) FROM image_events"))
    assert await rows(database) != before
    assert await clean(database_url)
    assert await rows(database) == before
    async with database.begin() as session:
        assert await session.scalar(text("SELECT count(*) FROM users WHERE name = 'renamed'")) == 0
        assert await session.scalar(text("SELECT version_num FROM alembic_version")) != "other"
    await record(database, new_image(first.sha256))
    async with database.begin() as session:
        assert await session.scalar(text("SELECT min(id) FROM image_events")) == number, "numbers begin anew"


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE images RENAME TO gone",
        "ALTER TABLE images DROP CONSTRAINT ck_images_bytes",
        "CREATE TABLE another (id int)",
        "DROP INDEX ix_images_downloads",
    ],
    ids=["renamed", "constraint", "table", "index"],
)
async def test_one_with_other_tables_is_none(database: Database, database_url: str, change: str) -> None:
    async with database.begin() as session:
        await session.execute(text(change))
    assert not await clean(database_url)


async def test_whoever_is_still_connected_is_cut_off(database: Database, database_url: str) -> None:
    async def look_late(session: AsyncSession) -> None:
        await session.execute(text("LOCK TABLE images"))
        assert await clean(database_url)
        await session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        async with database.begin() as session:
            await look_late(session)
