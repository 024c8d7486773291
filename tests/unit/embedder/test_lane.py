"""Who goes first, and who does not go at all."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from common.embedding import Priority
from common.errors import Overloaded
from embedder.caller import Caller
from embedder.engine import Engine
from embedder.metrics import Metrics
from embedder.settings import EmbedderSettings
from embedder.thread import ModelThread
from tests.fakes.clip_model import SIZE, FakeClipModel

BULK, INTERACTIVE = Caller(Priority.BULK), Caller(Priority.INTERACTIVE)


class NamingModel(FakeClipModel):
    """Notes which images it is given, by the value of their pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def encode_pixels(
        self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        self.seen.append([int(image.max()) for image in pixels])
        return super().encode_pixels(pixels)


class Held:
    """An engine whose model's thread stands still until `release`."""

    def __init__(self, **settings: object) -> None:
        self.model = NamingModel()
        self.metrics = Metrics()
        self.thread = ModelThread()
        self.engine = Engine(
            self.model, self.thread, self.metrics, EmbedderSettings.model_validate({"max_wait_ms": 0} | settings)
        )
        self._gate = threading.Event()
        self._held = asyncio.ensure_future(self.thread.run(self._gate.wait, urgent=True))

    def send(self, *numbers: int, caller: Caller) -> "asyncio.Task[object]":
        images = [np.full((SIZE, SIZE, 3), number, np.uint8) for number in numbers]
        return asyncio.ensure_future(self.engine.images.encode(images, caller))

    async def release(self) -> None:
        self._gate.set()
        await self._held


@asynccontextmanager
async def held(**settings: object) -> AsyncIterator[Held]:
    made = Held(**settings)
    try:
        yield made
    finally:
        await made.release()
        await made.engine.close()
        assert made.thread.stop(10)


async def queued() -> None:
    """Let everybody who was sent get as far as it goes: into the queue of the thread that stands still."""
    for _ in range(10):
        await asyncio.sleep(0)


def dropped(lanes: Held, priority: Priority, reason: str) -> float:
    labels = f'{{kind="image",model="fake/seed-0",priority="{priority}",reason="{reason}"}}'
    (line,) = [line for line in lanes.metrics.expose().decode().splitlines() if f"dropped_items_total{labels}" in line]
    return float(line.rpartition(" ")[2])


async def test_an_interactive_image_overtakes_bulk_ones_that_came_before() -> None:
    async with held(max_batch=2) as lanes:
        bulk = lanes.send(1, 2, 3, 4, caller=BULK)
        await queued()
        urgent = lanes.send(9, caller=INTERACTIVE)
        await queued()
        await lanes.release()
        await asyncio.gather(bulk, urgent)

        assert [number for batch in lanes.model.seen for number in batch] == [9, 1, 2, 3, 4]


async def test_bulk_images_are_not_kept_waiting_for_ever() -> None:
    async with held(max_batch=1) as lanes:
        bulk = lanes.send(1, caller=BULK)
        urgent = lanes.send(*range(11, 31), caller=INTERACTIVE)
        await queued()
        await lanes.release()
        await asyncio.gather(bulk, urgent)

        # The job that holds the thread may count as one that overtook.
        assert [1] in lanes.model.seen[:5]


async def test_bulk_images_that_fill_their_queue_keep_no_search_out() -> None:
    async with held(max_pending=64, max_batch=1) as lanes:
        bulk = lanes.send(*range(64), caller=BULK)
        await queued()
        with pytest.raises(Overloaded):
            await lanes.send(1, 2, 3, caller=BULK)
        urgent = lanes.send(9, caller=INTERACTIVE)
        await queued()
        await lanes.release()
        await asyncio.gather(bulk, urgent)


async def test_what_nobody_waits_for_never_reaches_the_model() -> None:
    async with held(max_batch=2) as lanes:
        handed_over = lanes.send(2, caller=BULK)
        await queued()
        kept = lanes.send(1, caller=BULK)
        waiting = lanes.send(3, 4, 5, caller=BULK)
        await queued()
        for gone in (handed_over, waiting):
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
        await lanes.release()
        await kept

        assert lanes.model.seen == [[1]]
        assert dropped(lanes, Priority.BULK, "caller_gone") == 4


async def test_what_is_past_its_deadline_never_reaches_the_model() -> None:
    async with held() as lanes:
        now = asyncio.get_running_loop().time()
        for deadline in (now - 1, now + 0.01):
            with pytest.raises(TimeoutError, match="the deadline passed"):
                await lanes.send(7, caller=Caller(Priority.INTERACTIVE, deadline))
        kept = lanes.send(8, caller=INTERACTIVE)
        await queued()
        await lanes.release()
        await kept

        assert lanes.model.seen == [[8]]
        assert dropped(lanes, Priority.INTERACTIVE, "deadline") == 2
