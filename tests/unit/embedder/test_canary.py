import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from embedder import canary
from embedder.canary import Canary
from embedder.engine import Engine
from embedder.metrics import Metrics
from embedder.reference import pictures
from embedder.selftest import check
from embedder.settings import EmbedderSettings
from embedder.thread import ModelThread
from tests.fakes.clip_model import SIZE, FakeClipModel


@pytest.fixture(autouse=True)
def always_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_FRESH_S", 0)
    monkeypatch.setattr(canary, "_PATIENCE_S", 20)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_PATIENCE_S", 0.1)


@dataclass
class Watched:
    canary: Canary
    engine: Engine
    thread: ModelThread


@asynccontextmanager
async def watch(model: FakeClipModel, stall_s: float = 30) -> AsyncIterator[Watched]:
    thread = ModelThread()
    references = check(model)
    engine = Engine(model, thread, Metrics(), EmbedderSettings(max_pending=64))
    watcher = Canary(engine, thread, pictures(SIZE)[0], references.images[0], stall_s)
    try:
        yield Watched(watcher, engine, thread)
    finally:
        model.gate.set()
        await watcher.close()
        if thread.alive:
            await engine.close()
            assert thread.stop(10)


async def test_a_healthy_model_has_no_trouble(model: FakeClipModel) -> None:
    async with watch(model) as watched:
        model.batches.clear()
        assert await watched.canary.find_trouble() is None
        assert model.batches == [("image", 1)]


async def test_wrong_vectors_are_noticed_and_forgiven(model: FakeClipModel) -> None:
    async with watch(model) as watched:
        model.distort = lambda vectors: -vectors
        assert await watched.canary.find_trouble() == "a known picture has another vector than at start"
        model.distort = None
        assert await watched.canary.find_trouble() is None


async def test_a_failing_model_is_noticed(model: FakeClipModel) -> None:
    async with watch(model) as watched:
        model.failure = RuntimeError("device-side assert")
        assert "device-side assert" in str(await watched.canary.find_trouble())


@pytest.mark.usefixtures("impatient")
async def test_a_stuck_model_is_noticed(model: FakeClipModel) -> None:
    async with watch(model, stall_s=0.01) as watched:
        model.hold()
        assert "has not answered" in str(await watched.canary.find_trouble())


@pytest.mark.usefixtures("impatient")
async def test_a_busy_model_is_tolerated(model: FakeClipModel) -> None:
    async with watch(model, stall_s=30) as watched:
        model.hold()
        assert await watched.canary.find_trouble() is None


@pytest.mark.usefixtures("impatient")
async def test_a_full_queue_is_no_trouble_as_long_as_answers_come(model: FakeClipModel) -> None:
    async with watch(model) as watched:
        model.hold()
        images = list(pictures(SIZE)) * 16
        bulk = [asyncio.create_task(watched.engine.images.encode(images)) for _ in range(2)]
        results = asyncio.gather(*bulk, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert await watched.canary.find_trouble() is None
        model.gate.set()
        await results


async def test_a_dead_thread_is_noticed(model: FakeClipModel) -> None:
    async with watch(model) as watched:
        assert watched.thread.stop(10)
        assert await watched.canary.find_trouble() == "the model's thread has died"
