"""What is told of batchers: how many items a batch has, how long they waited for it, and how many do so now."""

import asyncio

from prometheus_client import REGISTRY

from common.batch_metrics import SIZE
from common.batcher import Batcher
from tests.fakes.flush import NEVER_S, Flush, busy, submit, waiting


def told(name: str, batcher: str) -> float:
    return REGISTRY.get_sample_value(name, {"batcher": batcher}) or 0


async def test_batches_and_waits_are_measured_by_name() -> None:
    batcher = Batcher(Flush(), name="measured", max_size=3, max_wait=NEVER_S)
    await asyncio.gather(*map(batcher.submit, range(6)))
    assert told("likeness_batch_size_count", "measured") == 2
    assert told("likeness_batch_size_sum", "measured") == 6
    assert told("likeness_batch_wait_seconds_count", "measured") == 2, "of the first of each"
    assert told("likeness_batch_pending_items", "measured") == 0
    await batcher.close()


async def test_who_waits_is_told_and_who_has_gone_is_not() -> None:
    before, batches = told("likeness_batch_pending_items", "test"), told("likeness_batch_size_count", "test")
    async with busy(max_pending=2, max_size=2) as (batcher, _):
        first, second = submit(batcher, 1), submit(batcher, 2)
        await waiting(batcher, 2)
        assert told("likeness_batch_pending_items", "test") == before + 2
        first.cancel()
        await asyncio.sleep(0)
        third = submit(batcher, 3)  # takes the place of the one that has gone
        await waiting(batcher, 2)
        assert told("likeness_batch_pending_items", "test") == before + 2
    assert [await second, await third] == [20, 30]
    assert told("likeness_batch_pending_items", "test") == before
    assert told("likeness_batch_size_count", "test") == batches + 2, "the one that blocked, and these two"


def test_sizes_cover_the_largest_batches() -> None:
    assert SIZE._kwargs["buckets"][-1] >= 256
