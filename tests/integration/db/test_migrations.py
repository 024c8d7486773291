"""Migrations go up and down, match the models, and the wrong revision is refused."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import text

from common.db.engine import Database
from common.db.migrate import alembic_config, downgrade, upgrade
from common.db.revision import check_revision, head_revision
from common.errors import ConfigurationError, DatabaseUnavailable
from common.settings import DatabaseSettings
from tests.fixtures.rows import exists, new_image, record, record_import


def test_migrations_are_numbered_in_their_order() -> None:
    """Services go by the numbers in the files' names, Alembic by what each says it comes after."""
    script = ScriptDirectory.from_config(alembic_config("postgresql://"))
    latest_first = list(script.walk_revisions())
    numbers = [Path(revision.path).name.partition("_")[0] for revision in latest_first]
    assert numbers == [revision.revision for revision in latest_first] == sorted(numbers, reverse=True)
    assert head_revision() == script.get_current_head()


async def test_up_down_and_up_again(empty_database_url: str) -> None:
    opened = Database(DatabaseSettings(url=SecretStr(empty_database_url)))
    try:
        with pytest.raises(ConfigurationError, match="likeness migrate"):
            await check_revision(opened)
        await asyncio.to_thread(upgrade, empty_database_url)
        await check_revision(opened)
        # Raises when the models and the migrations disagree.
        await asyncio.to_thread(command.check, alembic_config(empty_database_url))
        await asyncio.to_thread(downgrade, empty_database_url, "base")
        async with opened.begin() as session:
            tables = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
            assert list(tables) == ["alembic_version"]
        with pytest.raises(ConfigurationError, match="revision none"):
            await check_revision(opened)
        await asyncio.to_thread(upgrade, empty_database_url)
        await check_revision(opened)
    finally:
        await opened.close()


async def test_what_an_older_release_can_not_know_is_forgotten_on_the_way_down(empty_database_url: str) -> None:
    await asyncio.to_thread(upgrade, empty_database_url)
    opened = Database(DatabaseSettings(url=SecretStr(empty_database_url)))
    try:
        (uploaded,) = await record(opened, new_image())
        waiting = await record_import(opened)
        await asyncio.to_thread(downgrade, empty_database_url, "0003")
        async with opened.begin() as session:
            assert list(await session.scalars(text("SELECT id FROM images"))) == [uploaded.id]
        await asyncio.to_thread(upgrade, empty_database_url)
        assert await exists(opened, uploaded.id)
        assert not await exists(opened, waiting.id)
    finally:
        await opened.close()


async def test_another_revision_is_refused(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    with pytest.raises(ConfigurationError, match="revision other"):
        await check_revision(database)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    nowhere = Database(DatabaseSettings(url=SecretStr("postgresql+asyncpg://likeness@127.0.0.1:1/likeness")))
    with pytest.raises(DatabaseUnavailable):
        await nowhere.ping()
    await nowhere.close()


async def test_a_killed_connection_is_unavailable_and_the_next_one_works(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.begin() as session:
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    await database.ping()
