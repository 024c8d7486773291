"""Rows of `operations` on a real PostgreSQL: claims, fences, and who may ask for what."""

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.db import operations
from common.db.attempts import LEASE
from common.db.engine import Database
from common.db.models import TRIES, Operation
from common.db.operations import AUDIT, NewOperation, OperationClaim
from common.errors import NotFound

NONE_LEFT = timedelta(seconds=-1)
NO_DELAY = timedelta(0)


async def start(database: Database, new: NewOperation | None = None) -> UUID:
    async with database.begin() as session:
        return await operations.start(session, new or NewOperation(AUDIT, "tests", {"fix": True}))


async def claim(database: Database, worker: str = "a", lease: timedelta = LEASE) -> OperationClaim | None:
    async with database.begin() as session:
        return await operations.claim(session, [AUDIT], worker, lease)


async def claimed(database: Database, lease: timedelta = LEASE) -> OperationClaim:
    owned = await claim(database, lease=lease)
    assert owned is not None
    return owned


async def load(database: Database, operation_id: UUID) -> Operation:
    async with database.begin() as session:
        return await operations.get(session, operation_id)


async def test_from_asked_for_to_done(database: Database) -> None:
    operation_id = await start(database)
    queued = await load(database, operation_id)
    assert (queued.status, queued.done, queued.total, queued.result) == ("queued", 0, None, None)
    owned = await claimed(database)
    assert (owned.id, owned.params, owned.attempt, owned.tries_left) == (operation_id, {"fix": True}, 1, TRIES - 1)
    async with database.begin() as session:
        assert await operations.renew(session, owned)
        assert await operations.report(session, owned, done=5, total=9)
    running = await load(database, operation_id)
    assert (running.status, running.done, running.total, running.lease_owner) == ("running", 5, 9, "a")
    async with database.begin() as session:
        assert await operations.finish(session, owned, {"found": 3})
    ended = await load(database, operation_id)
    assert (ended.status, ended.result, ended.lease_owner, ended.lease_until) == ("done", {"found": 3}, None, None)
    assert ended.finished_at is not None
    assert await claim(database) is None


async def test_an_unknown_one_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await load(database, uuid4())


async def test_of_forty_concurrent_claims_one_wins(database: Database) -> None:
    await start(database)
    results = await asyncio.gather(*(claim(database) for _ in range(40)))
    assert len([result for result in results if result is not None]) == 1


async def test_the_oldest_that_is_due_and_known_comes_first(database: Database) -> None:
    await start(database, NewOperation("of a later version", "tests", {}))
    first, second = await start(database), await start(database)
    await start(database, NewOperation(AUDIT, "tests", {}, timedelta(hours=1)))
    assert [owned.id for owned in (await claimed(database), await claimed(database))] == [first, second]
    assert await claim(database) is None


async def test_a_dead_workers_is_taken_over_and_begun_afresh(database: Database) -> None:
    operation_id = await start(database)
    dead = await claimed(database)
    async with database.begin() as session:
        await operations.report(session, dead, done=7, total=9)
        await operations.renew(session, dead, NONE_LEFT)
    taken = await claimed(database)
    assert (taken.id, taken.attempt) == (operation_id, 2)
    row = await load(database, operation_id)
    assert (row.done, row.total) == (0, None)


async def test_a_zombie_changes_nothing(database: Database) -> None:
    operation_id = await start(database)
    zombie = await claimed(database, lease=NONE_LEFT)
    for _ in range(2):  # before another worker takes over, and after
        async with database.begin() as session:
            assert not await operations.renew(session, zombie)
            assert not await operations.report(session, zombie, done=1, total=1)
            assert not await operations.finish(session, zombie, {})
            assert not await operations.fail(session, zombie, "no")
            assert not await operations.release(session, zombie, NO_DELAY, refund=True)
        await claim(database)
    row = await load(database, operation_id)
    assert (row.status, row.attempt, row.result) == ("running", 2, None)


@pytest.mark.parametrize("refund", [True, False])
async def test_released_it_waits_and_says_why(database: Database, refund: bool) -> None:
    operation_id = await start(database)
    owned = await claimed(database)
    async with database.begin() as session:
        await operations.release(session, owned, timedelta(hours=1), refund=refund, error="S3 is down")
    row = await load(database, operation_id)
    assert (row.status, row.error, row.tries_left) == ("queued", "S3 is down", TRIES - (not refund))
    assert await claim(database) is None


async def test_what_kills_its_workers_fails_in_the_end(database: Database) -> None:
    operation_id = await start(database)
    for _ in range(TRIES):
        await claimed(database, lease=NONE_LEFT)
    assert await claim(database) is None
    async with database.begin() as session:
        await operations.bury(session)
    row = await load(database, operation_id)
    assert row.status == "failed"
    assert "died" in (row.error or "")


async def ask(database: Database, **changes: Any) -> UUID | None:
    async with database.begin() as session:
        new = NewOperation(**{"kind": AUDIT, "origin": "nightly", "params": {}, **changes})
        return await operations.start_unless_queued(session, new)


async def test_of_many_that_ask_at_once_one_does(database: Database) -> None:
    asked = await asyncio.gather(*(ask(database) for _ in range(8)))
    assert len([id_ for id_ in asked if id_ is not None]) == 1


async def test_one_that_runs_or_is_anothers_stands_in_nobodys_way(database: Database) -> None:
    assert await ask(database) is not None
    assert await ask(database) is None
    assert await ask(database, origin="index_came_back") is not None
    await claimed(database)
    assert await ask(database) is not None, "the one that runs may have passed what this is about"


async def test_what_ended_long_ago_is_forgotten(database: Database) -> None:
    old, recent = await start(database), await start(database)
    for _ in range(2):
        owned = await claimed(database)
        async with database.begin() as session:
            await operations.finish(session, owned, {})
    async with database.begin() as session:
        await session.execute(
            text("UPDATE operations SET finished_at = now() - interval '91 days' WHERE id = :id"), {"id": old}
        )
    await ask(database)
    await load(database, recent)
    with pytest.raises(NotFound):
        await load(database, old)


async def test_a_time_of_the_day_is_past_or_was_yesterday(database: Database) -> None:
    """By the database's clock, which here is this machine's."""
    now = datetime.now(UTC)
    past, coming = (now - timedelta(minutes=5)).time(), (now + timedelta(minutes=5)).time()
    operation_id = await start(database)

    async def any_since(at: time) -> bool:
        async with database.begin() as session:
            return await operations.any_since(session, ["tests", "others"], at)

    assert [await any_since(past), await any_since(coming)] == [True, True]
    async with database.begin() as session:
        assert not await operations.any_since(session, ["others"], past)
        await session.execute(
            text("UPDATE operations SET created_at = now() - interval '1 hour' WHERE id = :id"), {"id": operation_id}
        )
    assert [await any_since(past), await any_since(coming)] == [False, True], "due 5 minutes ago, or 24 hours less 5"
