"""The sweep on a real PostgreSQL: each kind of loss is healed, whatever else is down at the time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import images, lifecycle, searches
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.db.searches import NewSearch
from common.payloads import payload_of
from common.vectors.base import Collection, Filter, Point
from tests.fakes.object_store import MemoryObjectStore
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.indexes import unreliable_index
from tests.fixtures.rows import (
    activate_model,
    age,
    age_tombstones,
    count,
    exists,
    expire_lease,
    load,
    new_image,
    record,
    record_done,
    record_pending,
    unit_vector,
)
from tests.fixtures.story import told_moves
from tests.fixtures.sweeping import AT_ONCE, FOREVER_S, LATER, Bench
from worker import sweeper as sweeper_module
from worker.leases import Leases
from worker.moves import Moves
from worker.pipeline import Pipeline
from worker.sweeper import Sweeper


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[UnreliableIndex]:
    async with unreliable_index(tmp_path) as opened:
        yield opened


@pytest.fixture
async def bench(database: Database, index: UnreliableIndex) -> Bench:
    return Bench(database, index, await activate_model(database))


def swept(kind: str, name: str = "likeness_swept_total") -> float:
    return REGISTRY.get_sample_value(name, {"kind": kind}) or 0


async def test_what_is_pending_without_a_hint_is_processed_once_it_is_overdue(bench: Bench) -> None:
    old, young = await record_pending(bench.database, new_image(), new_image())
    await age(bench.database, old.id, timedelta(minutes=1))
    await bench.sweeper.resume(overdue=LATER)
    assert [await bench.status(image) for image in (old, young)] == ["done", "pending"]
    await bench.sweeper.resume(overdue=AT_ONCE)
    assert await bench.status(young) == "done"


async def test_what_a_dead_worker_left_is_taken_over(bench: Bench) -> None:
    (image,) = await record_pending(bench.database, new_image())
    await expire_lease(bench.database, image.id)
    await bench.sweeper.resume(overdue=LATER)
    taken = await load(bench.database, image.id)
    assert (taken.status, taken.attempt) == ("done", 2)


async def test_more_than_one_batch_is_resumed_in_one_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper_module, "_BATCH", 10)
    rows = await record_pending(bench.database, *(new_image() for _ in range(35)))
    before = swept("images_resumed")
    await bench.sweeper.resume(overdue=AT_ONCE)
    assert sorted(bench.stage.processed) == sorted(row.id for row in rows)
    assert swept("images_resumed") - before == 35


async def test_a_sweep_does_not_spin_on_what_this_worker_is_busy_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full batch of due images, all on their way here already and waiting for a slot."""
    monkeypatch.setattr(sweeper_module, "_BATCH", 6)
    asked = 0
    find_due = lifecycle.find_due

    async def counted(session: AsyncSession, *, overdue: timedelta, limit: int) -> list[UUID]:
        nonlocal asked
        asked += 1
        return await find_due(session, overdue=overdue, limit=limit)

    monkeypatch.setattr(lifecycle, "find_due", counted)
    rows = await record_pending(bench.database, *(new_image() for _ in range(12)))
    bench.stage.open.clear()
    hinted = asyncio.create_task(bench.pipeline.process_all([row.id for row in rows]))
    await bench.stage.entered.acquire()
    sweep = asyncio.create_task(bench.sweeper.resume(overdue=AT_ONCE))
    await asyncio.wait([sweep], timeout=0.3)
    asked_while_busy = asked
    bench.stage.open.set()
    await asyncio.gather(hinted, sweep)
    assert asked_while_busy == 1
    assert len(bench.stage.processed) == 12, "once each"


async def test_poison_is_buried(bench: Bench) -> None:
    poison, unlucky = await record_pending(bench.database, new_image(), new_image())
    await expire_lease(bench.database, poison.id, tries_left=0)
    await expire_lease(bench.database, unlucky.id, tries_left=1)
    with told_moves() as told:
        await bench.sweeper.tidy()
    assert told == [(str(poison.id), "embedding", "error", "poison_suspected")]
    buried = await load(bench.database, poison.id)
    assert (buried.status, buried.error_code) == ("error", "poison_suspected")
    assert await bench.status(unlucky) == "embedding", "it has a try left"


async def test_an_upload_cut_off_after_its_object_was_stored_goes_on(bench: Bench) -> None:
    settled, fresh = await record(bench.database, new_image(), new_image())
    for image in (settled, fresh):
        await bench.store(image)
    await age(bench.database, settled.id, timedelta(minutes=2))
    with told_moves() as told:
        await bench.sweeper.tidy()
    assert told == [(str(settled.id), "created", "pending", None)]
    assert [await bench.status(image) for image in (settled, fresh)] == ["pending", "created"]


@pytest.mark.parametrize("partial", [False, True])
async def test_an_upload_cut_off_before_is_forgotten_after_an_hour(bench: Bench, partial: bool) -> None:
    recent, old = await record(bench.database, new_image(), new_image())
    if partial:  # never happens with S3, which stores all or nothing; but bytes of another size are not these bytes
        for image in (recent, old):
            await bench.store(image, b"01234")
    await age(bench.database, recent.id, timedelta(minutes=59))
    await age(bench.database, old.id, timedelta(minutes=61))
    with told_moves() as told:
        await bench.sweeper.tidy()
    assert told == [(str(old.id), "created", "deleted", None)]
    assert await bench.status(recent) == "created"
    assert not await exists(bench.database, old.id)
    assert await count(bench.database, "tombstones") == 1, "should its object still come, it will be purged"


async def test_an_outage_of_the_object_store_forgets_nothing(bench: Bench) -> None:
    (old,) = await record(bench.database, new_image())
    await age(bench.database, old.id, timedelta(hours=5))
    bench.storage.down = True
    await bench.sweeper.tidy()
    assert await exists(bench.database, old.id)


async def test_a_stale_payload_is_written(bench: Bench) -> None:
    (image,) = await record_done(bench.database, new_image(category="shoes"))
    collection = Collection(bench.model.collection, bench.model.dim)
    await bench.index.ensure(collection)
    await bench.index.upsert(collection, [Point(image.id, unit_vector(), payload_of(image))])
    await bench.edit(image, "hats")
    await bench.sweeper.tidy()
    found = await bench.index.query(collection, unit_vector(), filter=Filter(LOCAL_OWNER_ID, category="hats"), limit=10)
    assert [match.id for match in found] == [image.id]
    synced = await load(bench.database, image.id)
    assert synced.indexed_version == synced.payload_version
    bench.index.payloads.clear()
    await bench.sweeper.tidy()
    assert bench.index.payloads == [], "nothing is stale any more"


async def test_an_index_that_is_down_is_asked_once_a_sweep_not_once_an_image(bench: Bench) -> None:
    """Each call of a hanging index takes its whole timeout, and purging waits behind this step."""
    rows = await record_done(bench.database, *(new_image() for _ in range(20)))
    for image in rows:
        await bench.edit(image, "hats")
    bench.index.down = True
    before = swept("payloads_synced")
    await bench.sweeper.tidy()
    assert len(bench.index.calls) <= 2
    assert swept("payloads_synced") == before, "what failed is not healed"
    bench.index.down = False
    await bench.sweeper.tidy()
    assert swept("payloads_synced") - before == 20


async def test_remains_of_the_deleted_are_purged(bench: Bench) -> None:
    (image,) = await record_done(bench.database, new_image())
    await bench.delete(image)
    await bench.store(image)
    await age_tombstones(bench.database)
    await bench.sweeper.tidy()
    assert bench.storage.objects == {}
    assert await count(bench.database, "tombstones") == 0


async def test_searches_are_forgotten_in_their_time(bench: Bench) -> None:
    async with bench.database.begin() as session:
        await searches.add(session, [NewSearch(LOCAL_OWNER_ID, "text", 0, 1, 1.0, "m/p", text="a")] * 3)
        await session.execute(text("UPDATE search_log SET at = now() - interval '91 days' WHERE id < 3"))
    await bench.sweeper.tidy()
    assert await count(bench.database, "search_log") == 1


async def test_a_database_without_a_model_is_tidied_too(database: Database, index: UnreliableIndex) -> None:
    moves = Moves(database, "sweeping")
    pipeline = Pipeline([], moves, Leases(moves), images_in_flight=1)
    (image,) = await record_done(database, new_image())
    async with database.begin() as session:
        await images.edit(session, LOCAL_OWNER_ID, image.id, {"category": "hats"})
    await Sweeper(database, MemoryObjectStore(), index, pipeline, interval_s=FOREVER_S).tidy()
    assert index.calls == []


@pytest.mark.parametrize("down", ["storage", "index"])
async def test_one_failing_step_stops_no_other(bench: Bench, down: str) -> None:
    poison, stale, removed = await record_done(bench.database, new_image(), new_image(), new_image())
    upload, _ = await record(bench.database, new_image(), new_image())
    await bench.store(upload)
    await age(bench.database, upload.id, timedelta(minutes=5))
    await expire_lease(bench.database, poison.id, tries_left=0)
    await bench.edit(stale, "hats")
    await bench.delete(removed)
    await age_tombstones(bench.database)
    bench.storage.down, bench.index.down = down == "storage", down == "index"

    failed = "uploads_settled" if down == "storage" else "payloads_synced"
    failures = swept(failed, "likeness_sweep_failures_total")
    with structlog.testing.capture_logs() as logs:
        await bench.sweeper.tidy()
    assert swept(failed, "likeness_sweep_failures_total") == failures + 1
    assert await bench.status(poison) == "error"
    assert await bench.status(upload) == ("created" if down == "storage" else "pending")
    synced = await load(bench.database, stale.id)
    assert (synced.indexed_version == synced.payload_version) == (down == "storage")
    assert "warning" in {entry["log_level"] for entry in logs}

    bench.storage.down = bench.index.down = False
    await bench.sweeper.tidy()
    assert await bench.status(upload) == "pending"
    assert await count(bench.database, "tombstones") == 0


async def test_it_sweeps_at_the_start_and_again_and_stops_when_cancelled(bench: Bench) -> None:
    (first,) = await record_pending(bench.database, new_image())
    running = asyncio.create_task(bench.create_sweeper(0.01).run())
    try:
        async with asyncio.timeout(60):
            await bench.stage.entered.acquire()
            (second,) = await record_pending(bench.database, new_image())
            await bench.stage.entered.acquire()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert bench.stage.processed == [first.id, second.id]
    assert running.cancelled()
    await bench.pipeline.stop(30)


async def test_nothing_counts_as_hinted_at_the_start(bench: Bench) -> None:
    """A restart should not cost an interval."""
    (image,) = await record_pending(bench.database, new_image())
    running = asyncio.create_task(bench.sweeper.run())
    try:
        async with asyncio.timeout(60):
            await bench.stage.entered.acquire()
    finally:
        running.cancel()
        await asyncio.wait([running])
    await bench.pipeline.stop(30)
    assert await bench.status(image) == "done"


async def test_workers_that_sweep_at_once_process_each_image_once(bench: Bench) -> None:
    rows = await record_pending(bench.database, *(new_image() for _ in range(30)))
    others = [Bench(bench.database, bench.index, bench.model) for _ in range(3)]
    await asyncio.gather(*(each.sweeper.resume(overdue=AT_ONCE) for each in (bench, *others)))
    processed: Iterable[UUID] = (id_ for each in (bench, *others) for id_ in each.stage.processed)
    assert sorted(processed) == sorted(row.id for row in rows)
