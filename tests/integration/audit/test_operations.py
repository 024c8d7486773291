"""The loop that does operations, and the audits that workers ask for by themselves, on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from common.db import operations
from common.db.engine import Database
from common.db.models import TRIES, Operation
from common.db.operations import AUDIT, NewOperation, OperationClaim
from common.errors import StorageUnavailable
from common.payloads import payload_of
from common.vectors.base import Point
from tests.fixtures.auditing import Collected, vector_of
from tests.fixtures.counting import counted_errors
from worker import operations as operations_module
from worker.audit.schedule import INDEX_CAME_BACK, NIGHTLY, SAMPLE_FOUND, AuditSchedule
from worker.operations import Operations, Outcome, Progress

Step = Callable[[OperationClaim, Progress], Awaitable[Outcome]]
AT_ONCE = timedelta(0)
THREE = time(3)


class Scripted:
    """Does what a test wants."""

    kind = AUDIT

    def __init__(self, step: Step) -> None:
        self._step = step

    async def run(self, claim: OperationClaim, progress: Progress) -> Outcome:
        return await self._step(claim, progress)


async def finish(_: OperationClaim, progress: Progress) -> Outcome:
    await progress.advance(1, 2)
    return Outcome({"fine": True})


def loop(database: Database, step: Step = finish, *, renew_every_s: float | None = None) -> Operations:
    made = Operations(database, "working", [Scripted(step)])
    made._renew_every_s = renew_every_s or made._renew_every_s
    return made


async def start(database: Database, delay: timedelta = AT_ONCE) -> UUID:
    async with database.begin() as session:
        return await operations.start(session, NewOperation(AUDIT, "tests", {}, delay))


async def load(database: Database, operation_id: UUID) -> Operation:
    async with database.begin() as session:
        return await operations.get(session, operation_id)


async def origins(database: Database) -> list[str]:
    async with database.begin() as session:
        return list(await session.scalars(text("SELECT origin FROM operations ORDER BY created_at, origin")))


def ended(outcome: str) -> float:
    return REGISTRY.get_sample_value("likeness_operations_total", {"kind": AUDIT, "outcome": outcome}) or 0


async def any_asked_for(database: Database) -> bool:
    return bool(await origins(database))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await asyncio.sleep(0.01)


async def test_what_is_due_is_done_one_after_the_other(database: Database) -> None:
    ids = [await start(database) for _ in range(3)]
    worker = loop(database)
    assert [await worker.run_next() for _ in range(4)] == [True, True, True, False]
    rows = [await load(database, id_) for id_ in ids]
    assert [(row.status, row.result, row.done, row.total) for row in rows] == [("done", {"fine": True}, 1, 1)] * 3


async def test_an_outage_puts_it_back_and_costs_no_try(database: Database) -> None:
    async def away(_: OperationClaim, __: Progress) -> Outcome:
        raise StorageUnavailable("object store: it is down")

    operation_id = await start(database)
    postponed, done = ended("postponed"), ended("done")
    with counted_errors("worker") as errors:
        assert await loop(database, away).run_next()
    assert errors == {("infrastructure", "storage_unavailable"): 1}
    assert ended("postponed") == postponed + 1
    row = await load(database, operation_id)
    assert (row.status, row.error, row.tries_left) == ("queued", "object store: it is down", TRIES)
    assert not await loop(database).run_next(), "it waits a little"
    async with database.begin() as session:
        await session.execute(text("UPDATE operations SET next_run_at = now()"))
    assert await loop(database).run_next()
    row = await load(database, operation_id)
    assert (row.status, row.error, row.attempt) == ("done", None, 2)
    assert ended("done") == done + 1


async def test_a_defect_fails_it_in_the_end(database: Database) -> None:
    async def broken(_: OperationClaim, __: Progress) -> Outcome:
        raise RuntimeError("a defect")

    operation_id = await start(database)
    failed = ended("failed")
    for _ in range(TRIES):
        assert await loop(database, broken).run_next()
        async with database.begin() as session:
            await session.execute(text("UPDATE operations SET next_run_at = now()"))
    row = await load(database, operation_id)
    assert row.status == "failed"
    assert "RuntimeError" in (row.error or "")
    assert ended("failed") == failed + 1
    assert not await loop(database, broken).run_next()


async def test_one_that_killed_its_workers_is_counted_as_failed(database: Database) -> None:
    await start(database)
    async with database.begin() as session:
        assert await operations.claim(session, [AUDIT], "dying") is not None
        await session.execute(text("UPDATE operations SET tries_left = 0, lease_until = now() - interval '1 s'"))
    failed = ended("failed")
    assert not await loop(database).run_next()
    assert ended("failed") == failed + 1


async def test_a_worker_that_stops_puts_back_what_it_is_at(database: Database) -> None:
    entered = asyncio.Event()

    async def forever(_: OperationClaim, __: Progress) -> Outcome:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    operation_id = await start(database)
    running = asyncio.create_task(loop(database, forever).run())
    async with asyncio.timeout(60):
        await entered.wait()
    running.cancel()
    await asyncio.wait([running])
    row = await load(database, operation_id)
    assert (row.status, row.tries_left) == ("queued", TRIES)
    assert await loop(database).run_next(), "another worker does it at once"
    assert (await load(database, operation_id)).status == "done"


@pytest.mark.parametrize("noticed_by", ["lease", "progress"])
async def test_whoever_lost_it_stops_and_writes_nothing(database: Database, noticed_by: str) -> None:
    cancelled = asyncio.Event()

    async def lose(claim: OperationClaim, progress: Progress) -> Outcome:
        async with database.begin() as session:
            await session.execute(text("UPDATE operations SET attempt = attempt + 1, lease_owner = 'other'"))
        if noticed_by == "progress":
            await progress.advance(1, 1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    operation_id = await start(database)
    async with asyncio.timeout(60):
        assert await loop(database, lose, renew_every_s=0.01 if noticed_by == "lease" else None).run_next()
    assert cancelled.is_set() == (noticed_by == "lease")
    row = await load(database, operation_id)
    assert (row.status, row.lease_owner, row.result) == ("running", "other", None)


async def test_a_lease_is_renewed_for_as_long_as_it_takes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed = asyncio.Event()
    renew = operations.renew

    async def counted(*arguments: object) -> bool:
        renewed.set()
        return await renew(*arguments)  # type: ignore[arg-type] # as they come

    monkeypatch.setattr(operations, "renew", counted)

    async def slow(_: OperationClaim, __: Progress) -> Outcome:
        async with asyncio.timeout(60):
            await renewed.wait()
        return Outcome({})

    operation_id = await start(database)
    assert await loop(database, slow, renew_every_s=0.01).run_next()
    assert (await load(database, operation_id)).status == "done"


async def test_the_loop_does_what_comes_until_it_is_cancelled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations_module, "_POLL_S", 0.01)
    running = asyncio.create_task(loop(database).run())
    operation_id = await start(database)

    async def is_done() -> bool:
        return (await load(database, operation_id)).status == "done"

    async with asyncio.timeout(60):
        await until(is_done)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


# what workers ask for by themselves


async def never() -> None:
    await asyncio.Event().wait()


def schedule(
    database: Database,
    sample: int = 100,
    at: time = THREE,
    settle: timedelta = AT_ONCE,
    wait_for_index: Callable[[], Awaitable[None]] = never,
) -> AuditSchedule:
    return AuditSchedule(database, wait_for_index, sample=sample, at=at, settle=settle)


async def test_workers_that_see_the_index_come_back_share_one_sample(database: Database) -> None:
    await asyncio.gather(*(schedule(database).index_came_back() for _ in range(5)))
    assert await origins(database) == [INDEX_CAME_BACK]


async def test_a_sample_after_the_index_came_back_waits_until_all_have_noticed(database: Database) -> None:
    await schedule(database, settle=timedelta(minutes=1)).index_came_back()
    assert not await loop(database).run_next()


async def test_a_start_counts_as_a_return_of_the_index(database: Database) -> None:
    running = asyncio.create_task(schedule(database).run())
    async with asyncio.timeout(60):
        await until(lambda: any_asked_for(database))
    running.cancel()
    await asyncio.wait([running])
    assert await origins(database) == [INDEX_CAME_BACK]


async def test_a_return_of_the_index_is_noticed(database: Database) -> None:
    returns: asyncio.Queue[None] = asyncio.Queue()
    running = asyncio.create_task(schedule(database, wait_for_index=returns.get).run())
    async with asyncio.timeout(60):
        await until(lambda: any_asked_for(database))
        assert await loop(database).run_next(), "the one that the start asks for"
        returns.put_nowait(None)

        async def two_asked_for() -> bool:
            return len(await origins(database)) == 2

        await until(two_asked_for)
    running.cancel()
    await asyncio.wait([running])
    assert set(await origins(database)) == {INDEX_CAME_BACK}


async def test_one_sample_a_night(database: Database) -> None:
    at = (datetime.now(UTC) - timedelta(minutes=5)).time()
    await asyncio.gather(*(schedule(database, at=at).start_nightly() for _ in range(5)))
    assert await origins(database) == [NIGHTLY]
    assert await loop(database).run_next()
    await schedule(database, at=at).start_nightly()
    assert await origins(database) == [NIGHTLY], "also when it is done already"
    async with database.begin() as session:
        await session.execute(text("UPDATE operations SET created_at = now() - interval '1 day'"))
    await schedule(database, at=at).start_nightly()
    assert await origins(database) == [NIGHTLY, NIGHTLY]


async def test_no_samples_where_the_setting_says_none(database: Database) -> None:
    none = schedule(database, sample=0)
    await none.run()
    await none.index_came_back()
    await none.start_nightly()
    assert await origins(database) == []


async def test_a_sample_that_finds_wrong_vectors_is_followed_by_a_full_audit(collected: Collected) -> None:
    right, wrong = await collected.add(2)
    await collected.index.upsert(collected.collection, [Point(wrong.id, vector_of(right), payload_of(wrong))])
    await collected.operate(NewOperation(AUDIT, NIGHTLY, {"sample": 5}))
    assert await origins(collected.database) == [NIGHTLY, SAMPLE_FOUND]
    assert (await collected.audit()).found == 0, "what is due first has mended it"


@pytest.mark.parametrize("origin", [NIGHTLY, INDEX_CAME_BACK])
async def test_a_sample_that_misses_vectors_is_followed_by_a_full_audit_that_mends(
    collected: Collected, origin: str
) -> None:
    images = await collected.add(30)
    await collected.index.delete(collected.collection, [image.id for image in images])
    sample = await collected.operate(NewOperation(AUDIT, origin, {"sample": 5}))
    assert sample.result is not None
    assert sample.result["mismatches"]["vector_missing"]["count"] == 5
    assert await origins(collected.database) == [origin, SAMPLE_FOUND]
    await collected.audit()  # takes what is due first
    assert await collected.points() == sorted(image.id for image in images)


async def test_a_sample_that_a_person_asked_for_is_followed_by_nothing(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.index.delete(collected.collection, [image.id])
    assert (await collected.audit(sample=5)).found == 1
    assert await origins(collected.database) == ["tests"]


async def test_a_sample_is_as_large_as_it_says_and_goes_round_the_end(collected: Collected) -> None:
    images = await collected.add(12)
    await collected.index.delete(collected.collection, [image.id for image in images[:6]])
    seen: set[str] = set()
    for _ in range(8):
        report = await collected.audit(sample=7)
        assert report.checked.model_dump() == {"images": 7, "objects": 14, "points": 6}
        seen |= {item.id for tally in report.mismatches.values() for item in tally.items}
    assert seen <= {str(image.id) for image in images[:6]}
    assert len(seen) > 1
