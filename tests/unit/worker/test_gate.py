"""Who may be claimed while something is down, and that waiting ends by itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import UUID

import pytest

from common.breakers import EMBEDDER, STORAGE, VECTORS, Breakers
from common.errors import DatabaseUnavailable, EmbedderUnavailable, StorageUnavailable, VectorIndexUnavailable
from common.settings import BreakerSettings
from common.status import ImageStatus
from tests.fakes.pipelines import Gate as Held
from tests.fakes.pipelines import Harness, StepStage
from worker.gate import Gate
from worker.pipeline import Pipeline

FAILURES = {STORAGE: StorageUnavailable, EMBEDDER: EmbedderUnavailable, VECTORS: VectorIndexUnavailable}


class Bench:
    """A pipeline behind a gate, whose breakers open and close as a test says."""

    def __init__(self, *, images: int = 1, images_in_flight: int = 64, step: Held | None = None) -> None:
        self.breakers = Breakers("tests", BreakerSettings(failures=1, pause_s=0.001))
        self.down: set[str] = set()
        self.embedded: set[UUID] = set()
        self.asked: list[int] = []
        self.database_down = False
        for name, failure in FAILURES.items():
            self.breakers.create(name, failure).probe_with(lambda name=name: self._ping(name))  # type: ignore[misc]
        self.gate = Gate(self.breakers, self._find_embedded)
        self.harness = Harness(StepStage("embed", step), images=images)
        self.pipeline = Pipeline(
            [StepStage("embed", step)],
            self.harness.moves,
            self.harness.leases,
            images_in_flight=images_in_flight,
            gate=self.gate,
        )

    def open(self, name: str) -> None:
        """Let a dependency go down, and its breaker open."""
        self.down.add(name)
        with suppress(FAILURES[name]), self.breakers[name].guard():
            raise FAILURES[name]("down")

    def process(self, ids: Sequence[UUID] | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self.pipeline.process_all(self.harness.ids if ids is None else ids))

    async def _ping(self, name: str) -> None:
        if name in self.down:
            raise FAILURES[name]("down")

    async def _find_embedded(self, ids: Sequence[UUID]) -> set[UUID]:
        self.asked.append(len(ids))
        if self.database_down:
            raise DatabaseUnavailable("down")
        return self.embedded & set(ids)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(images=3)
    yield made
    await made.gate.close()
    await made.breakers.close()


async def stays_unclaimed(bench: Bench, running: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait([running], timeout=0.05)
    assert not done
    assert bench.harness.states == [ImageStatus.PENDING] * len(bench.harness.ids)


async def test_while_all_is_well_the_database_is_not_asked(bench: Bench) -> None:
    await bench.process()
    assert bench.harness.states == [ImageStatus.DONE] * 3
    assert bench.asked == []


@pytest.mark.parametrize("name", sorted(FAILURES))
async def test_nothing_is_claimed_while_something_it_needs_is_down_and_then_it_goes_on_by_itself(
    bench: Bench, name: str
) -> None:
    bench.open(name)
    running = bench.process()
    await stays_unclaimed(bench, running)
    bench.down.clear()
    async with asyncio.timeout(60):
        await running
    assert bench.harness.states == [ImageStatus.DONE] * 3
    assert set(bench.harness.moves.claimed) == set(bench.harness.ids)


@pytest.mark.parametrize("name", [STORAGE, EMBEDDER])
async def test_what_was_embedded_before_needs_neither_store_nor_embedder(bench: Bench, name: str) -> None:
    first, *others = bench.harness.ids
    bench.embedded = {first}
    bench.open(name)
    running = bench.process()
    async with asyncio.timeout(60):
        await bench.process([first])
    assert bench.harness.moves.claimed == [first]
    assert bench.asked[0] == 3, "one question for all"
    bench.down.clear()
    await running
    assert set(bench.harness.moves.claimed) == {first, *others}


async def test_what_was_embedded_before_needs_the_index_all_the_same(bench: Bench) -> None:
    bench.embedded = set(bench.harness.ids)
    bench.open(VECTORS)
    running = bench.process()
    await stays_unclaimed(bench, running)
    bench.down.clear()
    await running


async def test_without_the_database_the_claim_finds_out(bench: Bench) -> None:
    bench.open(EMBEDDER)
    bench.database_down = True
    await bench.process()
    assert len(bench.harness.moves.claimed) == 3


async def test_who_waits_holds_no_slot_and_a_breaker_that_opens_meanwhile_counts() -> None:
    held = Held()
    bench = Bench(images=3, images_in_flight=1, step=held)
    first, second, third = bench.harness.ids
    running = [bench.process([first])]
    await held.entered.acquire()
    running.append(bench.process([second]))
    await asyncio.sleep(0.01)  # it passes the gate, and waits for the slot
    bench.open(STORAGE)
    held.open.set()
    await running[0]
    bench.embedded = {third}
    async with asyncio.timeout(60):
        await bench.process([third])
    assert bench.harness.moves.claimed == [first, third]
    bench.down.clear()
    await running[1]
    assert bench.harness.states == [ImageStatus.DONE] * 3
    await bench.gate.close()
    await bench.breakers.close()


async def test_a_stop_does_not_wait_for_the_gate(bench: Bench) -> None:
    bench.open(VECTORS)
    running = bench.process()
    await stays_unclaimed(bench, running)
    async with asyncio.timeout(60):
        await bench.pipeline.stop(3600)
        await running
    assert bench.harness.moves.claimed == []
