"""Objects without an image: kept for as long as the settings say, then deleted unless an image has them."""

from datetime import timedelta
from uuid import uuid4

import structlog

from common.purge import Purge
from common.storage import ObjectStore, object_key, thumbnail_key
from tests.fakes.object_store import MemoryObjectStore
from tests.fixtures.auditing import Collected
from tests.fixtures.rows import age_quarantine, new_image, quarantined, record
from tests.fixtures.sweeping import FOREVER_S
from worker.leases import Leases
from worker.moves import Moves
from worker.pipeline import Pipeline
from worker.sweeper import Sweeper

MONTH = timedelta(days=30)


def sweeper(collected: Collected, orphan_age: timedelta = MONTH, *, storage: ObjectStore | None = None) -> Sweeper:
    moves = Moves(collected.database, "sweeping")
    pipeline = Pipeline([], moves, Leases(moves), images_in_flight=1)
    stores = (collected.database, storage or collected.storage, collected.index)
    return Sweeper(*stores, pipeline, interval_s=FOREVER_S, orphan_age=orphan_age)


async def orphan(collected: Collected) -> str:
    """Leave an original and a thumbnail that nobody has, as after a restored database; return the original's key."""
    sha256 = uuid4().hex * 2
    await collected.put(thumbnail_key(sha256))
    await collected.put(object_key(sha256))
    return object_key(sha256)


async def keys(collected: Collected) -> set[str]:
    return {item.key for prefix in ("sha256/", "thumbnail/") for item in await collected.storage.list_objects(prefix)}


async def test_orphans_go_when_they_have_been_in_quarantine_for_long_enough(collected: Collected) -> None:
    (image,) = await collected.add()
    kept = await keys(collected)
    await orphan(collected)
    await collected.audit()
    assert await quarantined(collected.database) == await keys(collected) - kept
    await age_quarantine(collected.database, MONTH - timedelta(hours=1))
    await collected.audit()  # seeing them again does not begin their time anew
    await sweeper(collected).tidy()
    assert len(await keys(collected)) == 4
    await age_quarantine(collected.database, timedelta(hours=2))
    await sweeper(collected).tidy()
    assert (await keys(collected), await quarantined(collected.database)) == (kept, set())
    assert await collected.storage.find(image.object_key) is not None


async def test_the_age_is_a_setting(collected: Collected) -> None:
    await orphan(collected)
    await collected.audit()
    await age_quarantine(collected.database, timedelta(minutes=2))
    await sweeper(collected, timedelta(minutes=1)).tidy()
    assert await keys(collected) == set()


async def test_what_an_image_has_by_now_is_kept_and_leaves_quarantine(collected: Collected) -> None:
    """No audit has seen the row: the last look, under the lock, does."""
    key = await orphan(collected)
    await collected.audit()
    await age_quarantine(collected.database, 2 * MONTH)
    await record(collected.database, new_image(key.rpartition("/")[2]))
    await sweeper(collected).tidy()
    assert key in await keys(collected)
    assert len(await keys(collected)) == 2
    assert await quarantined(collected.database) == set()


async def test_a_sample_fills_quarantine_too(collected: Collected) -> None:
    key = await orphan(collected)
    await collected.audit(sample=10)
    assert key in await quarantined(collected.database)


async def test_an_outage_of_the_object_store_keeps_them_in_quarantine(collected: Collected) -> None:
    key = await orphan(collected)
    await collected.audit()
    await age_quarantine(collected.database, 2 * MONTH)
    away = MemoryObjectStore()
    away.down = True
    with structlog.testing.capture_logs() as logs:
        await sweeper(collected, storage=away).tidy()
    assert "orphans_deleted" in {entry.get("step") for entry in logs}
    assert key in await quarantined(collected.database)


async def test_orphans_are_deleted_in_bounded_numbers(collected: Collected) -> None:
    for _ in range(3):
        await orphan(collected)
    await collected.audit()
    await age_quarantine(collected.database, 2 * MONTH)
    purge = Purge(collected.database, collected.storage, collected.index)
    assert [await purge.purge_orphans(older_than=MONTH, limit=4) for _ in range(3)] == [4, 2, 0]
    assert await keys(collected) == set()
