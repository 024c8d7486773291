"""How many images are on their way at once, and what becomes of them when the worker stops."""

import asyncio

from common.db.models import TRIES
from common.status import ImageStatus
from tests.fakes.pipelines import Gate, Harness, StepStage


async def test_slots_are_bound() -> None:
    gate = Gate()
    harness = Harness(StepStage("fetch", gate), images=5, images_in_flight=2)
    running = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    await gate.entered.acquire()
    assert len(harness.moves.claimed) == 2, "what has no slot is not claimed either"
    gate.open.set()
    await running
    assert gate.most_inside == 2
    assert harness.states == [ImageStatus.DONE] * 5


async def test_images_outlive_the_job_that_brought_the_hint() -> None:
    gate = Gate()
    harness = Harness(StepStage("fetch", gate))
    job = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    job.cancel()
    await asyncio.wait([job])
    assert job.cancelled()
    gate.open.set()
    await harness.pipeline.stop(60)
    assert harness.states == [ImageStatus.DONE]


async def test_stop_lets_what_is_in_flight_finish_and_claims_nothing_more() -> None:
    gate = Gate()
    harness = Harness(StepStage("fetch", gate), images=4, images_in_flight=2)
    working = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    await gate.entered.acquire()
    stopping = asyncio.create_task(harness.pipeline.stop(60))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(stopping, working)
    assert sorted(harness.states) == [ImageStatus.DONE] * 2 + [ImageStatus.PENDING] * 2
    await harness.pipeline.process_all(harness.ids)
    assert len(harness.moves.claimed) == 2


async def test_stop_releases_what_does_not_finish_in_time() -> None:
    gate = Gate()
    harness = Harness(StepStage("fetch", gate), images=3, images_in_flight=2)
    working = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    await gate.entered.acquire()
    await harness.pipeline.stop(0)
    await working
    assert harness.states == [ImageStatus.PENDING] * 3
    assert [(release.refund, release.delay.total_seconds()) for release in harness.moves.releases] == [(True, 0)] * 2
    assert not harness.held
    assert list(harness.moves.tries_left.values()) == [TRIES] * 3


async def test_stop_with_nothing_to_do_returns() -> None:
    await Harness().pipeline.stop(60)


async def test_cancelling_twice_does_not_keep_the_release_from_being_written() -> None:
    gate = Gate()
    harness = Harness(StepStage("fetch", gate))
    working = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    (task,) = harness.pipeline._tasks.values()
    task.cancel()
    await asyncio.sleep(0)  # the release is on its way
    task.cancel()
    await working
    await asyncio.sleep(0)
    assert harness.states == [ImageStatus.PENDING]
