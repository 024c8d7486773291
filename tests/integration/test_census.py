"""The census: exact as long as that is cheap, about right beyond, and told by one worker at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import text

from common.db import census
from common.db.engine import Database
from common.settings import DatabaseSettings
from common.status import ImageStatus
from tests.fixtures.rows import activate_model, expire_lease, new_image, record, record_done, record_pending
from worker.census import CensusTaker


async def test_states_are_counted(database: Database) -> None:
    model = await activate_model(database)
    await record(database, new_image())
    await record_done(database, *[new_image() for _ in range(3)])
    waiting, taken = await record_pending(database, new_image(), new_image())
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET next_run_at = now() - interval '1 h' WHERE id = :id"), {"id": waiting.id}
        )
        await session.execute(
            text("UPDATE images SET status = 'embedding', attempt = 1, lease_until = now() WHERE id = :id"),
            {"id": taken.id},
        )
    await expire_lease(database, taken.id)
    async with database.read() as session:
        taken_now = await census.take(session)
    assert taken_now.images == {
        ImageStatus.CREATED: 1,
        ImageStatus.PENDING: 1,
        ImageStatus.EMBEDDING: 1,
        ImageStatus.INDEXING: 0,
        ImageStatus.DONE: 3,
        ImageStatus.ERROR: 0,
    }
    assert 3600 <= taken_now.due_s[ImageStatus.PENDING] < 3700
    assert taken_now.due_s[ImageStatus.CREATED] == 0
    assert taken_now.expired == {ImageStatus.EMBEDDING: 1, ImageStatus.INDEXING: 0}
    assert taken_now.models == [(f"{model.name}/{model.pretrained}", "active", model.dim)]


async def test_what_would_take_long_to_count_is_estimated(database: Database) -> None:
    await activate_model(database)
    await record_pending(database, new_image())
    await record_done(database, *[new_image() for _ in range(6)])
    async with database.begin() as session:
        await session.execute(text("ANALYZE images"))
    async with database.read() as session:
        taken = await census.take(session, counted=2)
    assert taken.images[ImageStatus.PENDING] == 1
    assert taken.images[ImageStatus.DONE] >= 6, "seven rows, less the other; what others report late comes on top"


def shown(state: str) -> float | None:
    return REGISTRY.get_sample_value("likeness_images", {"state": state})


@asynccontextmanager
async def taking(url: str) -> AsyncIterator[CensusTaker]:
    database = Database(DatabaseSettings(url=SecretStr(url), pool_size=1))
    taker = CensusTaker(database, interval_s=0.01)
    running = asyncio.create_task(taker.run())
    try:
        yield taker
    finally:
        running.cancel()
        await asyncio.wait([running])
        await database.close()


async def until_telling(taker: CensusTaker) -> None:
    async with asyncio.timeout(60):
        while not taker.telling:  # noqa: ASYNC110 - seen by an outsider
            await asyncio.sleep(0.01)


async def test_one_tells_and_another_takes_over(database_url: str, database: Database) -> None:
    await record_pending(database, new_image())
    async with taking(database_url) as second_later:
        await until_telling(second_later)
        async with taking(database_url) as waiting:
            await asyncio.sleep(0.1)
            assert not waiting.telling
    assert shown("pending") is None, "who ended tells nothing any more"
    async with taking(database_url) as next_one:
        await until_telling(next_one)
        assert shown("pending") == 1


async def test_a_lost_connection_frees_the_place(database_url: str, database: Database) -> None:
    async with taking(database_url) as first:
        await until_telling(first)
        held_by = await holder(database)
        async with database.begin() as session:
            await session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": held_by})
        async with asyncio.timeout(60):
            while await holder(database) in {held_by, None}:  # noqa: ASYNC110 - the server knows
                await asyncio.sleep(0.01)
        await until_telling(first)


async def test_the_server_soon_notices_that_a_host_has_vanished(database: Database) -> None:
    async with database.read() as session:
        assert await census.take_place(session)
        settings = "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"
        told = [await session.scalar(text(f"SHOW {name}")) for name in settings]
        await session.invalidate()
    assert told == ["15", "5", "3", "30000"], "as the kernel has it"


async def holder(database: Database) -> int | None:
    """The server's process that has the lock."""
    async with database.read() as session:
        found: int | None = await session.scalar(
            text(
                "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database "
                "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
            )
        )
        return found
