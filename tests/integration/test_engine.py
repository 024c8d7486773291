"""Transactions on a real PostgreSQL: what is committed, what is rolled back, and what counts as an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from common.breakers import Breaker, Breakers, BreakerState
from common.db.engine import Database
from common.errors import DatabaseUnavailable, NotFound
from common.settings import BreakerSettings, DatabaseSettings
from deploy.local.stores import Stores
from tests.fixtures.proxy import proxy_to
from tests.fixtures.silence import silent_server

FOLDER = (
    "INSERT INTO folders (id, owner_id, name) VALUES (gen_random_uuid(), '00000000-0000-4000-8000-000000000001', 'new')"
)
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
COUNT_NEW = "SELECT count(*) FROM folders WHERE name = 'new'"


@asynccontextmanager
async def opened(url: str, **changes: float) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings.model_validate({"url": url, **changes}))
    try:
        yield database
    finally:
        await database.close()


async def count_new(database: Database) -> int:
    async with database.begin() as session:
        return int(await session.scalar(text(COUNT_NEW)) or 0)


async def insert_and_raise(database: Database, error: BaseException) -> None:
    async with database.begin() as session:
        await session.execute(text(FOLDER))
        raise error


async def test_leaving_commits(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text(FOLDER))
        assert await count_new(database) == 0, "nobody sees it before"
    assert await count_new(database) == 1


@pytest.mark.parametrize("error", [KeyError("a bug"), NotFound("of ours"), asyncio.CancelledError()])
async def test_an_exception_rolls_back_and_comes_out_as_it_is(database: Database, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await insert_and_raise(database, error)
    assert caught.value is error
    assert await count_new(database) == 0


async def test_rows_are_read_after_the_transaction(database: Database) -> None:
    async with database.begin() as session:
        row = (await session.execute(text("SELECT 1 AS one"))).one()
    assert row.one == 1


async def test_a_violated_constraint_is_no_outage(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as session:
            await session.execute(text(f"{FOLDER}, ({FOLDER.partition('VALUES (')[2]}"))
    assert await count_new(database) == 0


@pytest.mark.parametrize("statement", ["SELECT nonsense", "SELECT 1 / 0", "SELECT * FROM nowhere"])
async def test_a_wrong_statement_is_no_outage(database: Database, statement: str) -> None:
    with pytest.raises((DBAPIError, ProgrammingError)):
        async with database.begin() as session:
            await session.execute(text(statement))


async def test_an_exhausted_pool_is_an_outage_and_recovers(database_url: str) -> None:
    async with opened(database_url, pool_size=1, connect_timeout_s=0.1) as database:
        async with database.begin() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                await database.ping()
        await database.ping()


async def test_a_statement_that_takes_too_long_is_an_outage_and_the_next_one_works(database_url: str) -> None:
    async with opened(database_url, pool_size=1, command_timeout_s=0.1) as database:
        with pytest.raises(DatabaseUnavailable):
            async with database.begin() as session:
                await session.execute(text("SELECT pg_sleep(60)"))
        await database.ping()


@pytest.mark.parametrize("sqlstate", ["53100", "53300", "57014", "57P01", "57P03", "08006"])
async def test_a_server_in_trouble_is_an_outage(database: Database, sqlstate: str) -> None:
    """Disk full, too many connections, statement cancelled, shutting down, starting up, connection failure."""
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(DatabaseUnavailable):
        async with database.begin() as session:
            await session.execute(text(statement))
    await database.ping()


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
async def test_a_deadlock_is_worth_another_try(database: Database, sqlstate: str) -> None:
    """The server chose this transaction to give way: nothing is wrong with what it wanted."""
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'give way' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(DatabaseUnavailable):
        async with database.begin() as session:
            await session.execute(text(statement))


@pytest.mark.parametrize(
    "change", [{"database": "no_such_database"}, {"password": "wrong"}, {"host": "no-such-host.invalid"}]
)
async def test_a_server_that_refuses_us_is_an_outage(stores: Stores, change: dict[str, str]) -> None:
    """A database that is being restored, a password that was just changed, a name that is not known yet."""
    url = make_url(stores.database_url).set(**change)  # type: ignore[arg-type] # a change is one of the texts
    async with opened(url.render_as_string(hide_password=False), connect_timeout_s=2) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_a_server_that_never_answers_is_an_outage() -> None:
    with silent_server() as port:
        async with opened(
            f"postgresql+asyncpg://likeness@127.0.0.1:{port}/likeness", connect_timeout_s=0.1
        ) as database:
            with pytest.raises(DatabaseUnavailable):
                await database.ping()


async def test_a_server_that_stalls_is_given_up_in_time_with_connections_open_and_heals(database_url: str) -> None:
    """A connection from the pool is checked before it is used: that, too, is part of getting one."""
    address = make_url(database_url)
    breakers = Breakers("tests", BreakerSettings(failures=1, pause_s=0.05, probe_timeout_s=5))
    breaker = breakers.create("database", DatabaseUnavailable)
    async with proxy_to(address.port or 5432) as proxy:
        settings = DatabaseSettings(
            url=SecretStr(address.set(port=proxy.port).render_as_string(hide_password=False)), connect_timeout_s=0.5
        )
        database = Database(settings, breaker)
        try:
            await asyncio.gather(database.ping(), database.ping())
            proxy.stall()
            async with asyncio.timeout(settings.command_timeout_s):  # which would rule otherwise
                with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
                    await database.ping()
                with pytest.raises(DatabaseUnavailable, match="not asked"):
                    await database.ping()
            proxy.go_on()
            async with asyncio.timeout(60):
                while breaker.state is not BreakerState.CLOSED:  # noqa: ASYNC110 - a property
                    await asyncio.sleep(0.01)
            await database.ping()
        finally:
            await breakers.close()
            await database.close()


async def test_an_error_within_a_transaction_opens_no_breaker(database_url: str) -> None:
    breaker = Breaker("database", DatabaseUnavailable, BreakerSettings(failures=1), lambda _: None)
    database = Database(DatabaseSettings(url=SecretStr(database_url), command_timeout_s=0.1), breaker)
    with pytest.raises(DatabaseUnavailable):
        async with database.begin() as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    await database.ping()
    await database.close()


async def test_after_all_connections_were_killed_the_next_transaction_works(stores: Stores, database_url: str) -> None:
    async with opened(database_url, pool_size=3) as database, opened(stores.database_url) as admin:
        await asyncio.gather(*(database.ping() for _ in range(3)))
        async with admin.begin() as session:
            await session.execute(text(TERMINATE), {"name": make_url(database_url).database})
        await asyncio.gather(*(database.ping() for _ in range(3)))


@asynccontextmanager
async def dying(
    database_url: str, admin_url: str, pool_size: int = 1
) -> AsyncIterator[tuple[Database, Callable[[], Awaitable[None]]]]:
    """A database, and how to end its connections so that they hear of it, but are not closed yet."""
    address = make_url(database_url)

    async def end() -> None:
        async with admin.begin() as session:
            await session.execute(text(TERMINATE), {"name": address.database})
        await asyncio.sleep(0.1)  # for the server's last words

    async with proxy_to(address.port or 5432) as proxy, opened(admin_url) as admin:
        proxy.linger()
        async with opened(
            address.set(port=proxy.port).render_as_string(hide_password=False), pool_size=pool_size, command_timeout_s=1
        ) as database:
            yield database, end


async def test_a_connection_that_was_told_of_its_end_but_is_still_open_is_replaced(
    stores: Stores, database_url: str
) -> None:
    async with dying(database_url, stores.database_url) as (database, end):
        await database.ping()
        await end()
        await database.ping()


async def test_a_connection_that_is_told_of_its_end_within_a_transaction_is_an_outage(
    stores: Stores, database_url: str
) -> None:
    async with dying(database_url, stores.database_url) as (database, end):
        with pytest.raises(DatabaseUnavailable):
            await interrupted(database, end)
        await database.ping()


async def interrupted(database: Database, end: Callable[[], Awaitable[None]]) -> None:
    async with database.begin() as session:
        await session.execute(text("SELECT 1"))
        await end()
        await session.execute(text("SELECT 1"))


@pytest.mark.parametrize("pool_size", [1, 8], ids=["none is kept", "two are kept"])
async def test_quick_reads_survive_the_end_of_their_connections(
    stores: Stores, database_url: str, pool_size: int
) -> None:
    """Those that are kept at hand are not checked; what was read of them is read again."""
    async with dying(database_url, stores.database_url, pool_size) as (database, end):
        for _ in range(2):
            for rows in await asyncio.gather(*(database.fetch("SELECT $1::int AS one", 1) for _ in range(3))):
                assert [row["one"] for row in rows] == [1]
            await end()
        await database.ping()


async def test_no_more_connections_than_a_few_are_kept_from_others(database_url: str) -> None:
    async with opened(database_url, pool_size=4, connect_timeout_s=60) as database:
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(8)))
        async with database.begin(), database.begin(), database.begin():
            assert [tuple(row) for row in await database.fetch("SELECT 1")] == [(1,)]
        await database.fetch("SELECT 1")
        assert database._engine.pool.checkedout() == 1  # type: ignore[attr-defined]


async def test_no_connection_is_kept_while_somebody_waits_for_one(database_url: str) -> None:
    async with (
        opened(database_url, pool_size=4, connect_timeout_s=60) as database,
        database.begin(),
        database.begin(),
        database.begin(),
    ):
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(3)))


async def test_a_connection_at_hand_is_not_asked_while_the_server_counts_as_down(database_url: str) -> None:
    patient = BreakerSettings(failures=1, pause_s=3600)
    breaker = Breaker("database", DatabaseUnavailable, patient, lambda _: None)
    database = Database(DatabaseSettings(url=SecretStr(database_url), pool_size=4), breaker)
    await database.fetch("SELECT 1")
    with suppress(DatabaseUnavailable), breaker.guard():
        raise DatabaseUnavailable("scripted")
    with pytest.raises(DatabaseUnavailable, match="not asked"):
        await database.fetch("SELECT 1")
    await breaker.close()
    await database.close()


async def test_what_is_read_while_the_pool_closes_leaves_no_connection_behind(database_url: str) -> None:
    async with opened(database_url, pool_size=4) as database:
        reading = asyncio.create_task(database.fetch("SELECT pg_sleep(0.2)"))
        async with asyncio.timeout(60):
            while database._engine.pool.checkedout() == 0:  # type: ignore[attr-defined] # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await database.close()
        await reading
        assert not database._kept


async def test_a_quick_read_of_a_server_that_stalls_is_an_outage_and_is_not_repeated(database_url: str) -> None:
    async with opened(database_url, pool_size=1, command_timeout_s=0.2) as database:
        await database.fetch("SELECT 1")
        with pytest.raises(DatabaseUnavailable):
            await database.fetch("SELECT pg_sleep(60)")
        assert [tuple(row) for row in await database.fetch("SELECT 1")] == [(1,)]


async def test_a_quick_read_with_a_mistake_is_no_outage(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedColumnError):
        await database.fetch("SELECT nonsense")
    await database.ping()


async def test_connections_that_die_as_soon_as_they_are_made_are_an_outage(database: Database) -> None:
    @event.listens_for(database._engine.sync_engine, "checkout", insert=True)
    def end(connection: Any, *_: object) -> None:
        connection.run_async(lambda driver: driver.close())

    with pytest.raises(DatabaseUnavailable, match="closed"):
        await database.ping()
    event.remove(database._engine.sync_engine, "checkout", end)
    await database.ping()


def test_the_password_is_not_shown() -> None:
    database = Database(DatabaseSettings(url=SecretStr("postgresql+asyncpg://likeness:hunter2@127.0.0.1:1/likeness")))
    assert "hunter2" not in repr(database._engine)
