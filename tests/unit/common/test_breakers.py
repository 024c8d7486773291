"""A breaker opens after failures in a row, and closes when a probe succeeds; by a clock that only tests move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest

from common.breakers import OPEN, Breaker, Breakers, BreakerState
from common.errors import InfrastructureError, ObjectNotFound, Overloaded, StorageUnavailable
from common.settings import BreakerSettings
from tests.fixtures.clock import FakeClock

SETTINGS = BreakerSettings(failures=3, pause_s=2, probe_timeout_s=0.05)


class Store:
    """A dependency behind a breaker; `error` is what it answers."""

    def __init__(self, clock: FakeClock, *, probe_error: Exception | None = None) -> None:
        self.error: BaseException | None = None
        self.probe_error = probe_error
        self.probes: list[float] = []
        self.changes: list[bool] = []
        self.calls = 0
        self._clock = clock
        self.breaker = Breaker("storage", StorageUnavailable, SETTINGS, self.changes.append, clock.sleep)
        self.breaker.probe_with(self.ping)

    async def call(self, *, proves: bool = True) -> None:
        with self.breaker.guard(proves=proves):
            self.calls += 1
            if self.error is not None:
                raise self.error

    async def ping(self) -> None:
        self.probes.append(self._clock.now)
        if self.probe_error is not None:
            raise self.probe_error

    async def fail(self, times: int = SETTINGS.failures) -> None:
        self.error = StorageUnavailable("refused")
        for _ in range(times):
            with suppress(StorageUnavailable):
                await self.call()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return FakeClock(monkeypatch)


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[Store]:
    made = Store(clock, probe_error=StorageUnavailable("still down"))
    yield made
    await made.breaker.close()


async def until_probed(store: Store, times: int) -> None:
    while len(store.probes) < times:  # noqa: ASYNC110 - a list of times
        await asyncio.sleep(0)


async def test_failures_in_a_row_open_it(store: Store) -> None:
    await store.fail(2)
    assert store.changes == []
    await store.fail(1)
    assert store.changes == [True]
    assert store.breaker.state is BreakerState.OPEN


async def test_an_open_breaker_fails_at_once_with_the_error_of_its_dependency(store: Store) -> None:
    await store.fail()
    store.error = None
    with pytest.raises(StorageUnavailable, match=r"storage: down, and not asked .*refused") as caught:
        await store.call()
    assert caught.value.code == "storage_unavailable"
    assert store.calls == SETTINGS.failures, "it was not asked"


async def test_a_success_starts_the_count_anew(store: Store) -> None:
    for _ in range(3):
        await store.fail(2)
        store.error = None
        await store.call()
    assert store.breaker.closed


async def test_a_success_that_proves_nothing_does_not(store: Store) -> None:
    await store.fail(2)
    store.error = None
    await store.call(proves=False)
    await store.fail(1)
    assert not store.breaker.closed


class Refused(StorageUnavailable):
    """Some kind of its own."""


@pytest.mark.parametrize(
    "error",
    [ObjectNotFound("gone"), Overloaded("full"), ValueError("ours"), asyncio.CancelledError(), Refused("one object")],
    ids=lambda error: type(error).__name__,
)
async def test_what_does_not_mean_down_changes_nothing(store: Store, error: BaseException) -> None:
    await store.fail(2)
    store.error = error
    for _ in range(10):
        with pytest.raises(type(error)):
            await store.call()
    assert store.breaker.closed
    await store.fail(1)
    assert not store.breaker.closed, "nor was it taken for a success"


async def test_it_probes_after_each_pause_and_closes_when_one_succeeds(store: Store, clock: FakeClock) -> None:
    start = clock.now
    await store.fail()
    await until_probed(store, 3)
    assert store.probes[:3] == [start + 2, start + 4, start + 6]
    assert store.changes == [True]
    store.error = store.probe_error = None
    await until_probed(store, len(store.probes) + 1)
    await asyncio.sleep(0)
    assert store.breaker.closed
    assert store.changes == [True, False]
    await store.call()


async def test_no_call_is_risked_while_a_probe_is_due(store: Store, clock: FakeClock) -> None:
    await store.fail()
    clock.now += 10
    assert store.breaker.state is BreakerState.HALF_OPEN
    store.error = None
    with pytest.raises(StorageUnavailable):
        await store.call()
    assert store.calls == SETTINGS.failures


async def test_a_probe_that_hangs_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = asyncio.Event()
    seen: list[str] = []

    async def hang() -> None:
        seen.append("asked")
        if len(seen) == 1:
            await hung.wait()

    store.breaker.probe_with(hang)
    await store.fail()
    async with asyncio.timeout(60):
        while not store.breaker.closed:  # noqa: ASYNC110 - a property
            await asyncio.sleep(0)
    assert seen == ["asked", "asked"]


async def test_a_defect_of_a_probe_does_not_leave_it_open_for_ever(store: Store) -> None:
    store.probe_error = KeyError("a bug")
    await store.fail()
    await until_probed(store, 2)
    store.probe_error = None
    await until_probed(store, len(store.probes) + 1)
    await asyncio.sleep(0)
    assert store.breaker.closed


@pytest.mark.parametrize("end", [None, StorageUnavailable("late")], ids=["late success", "late failure"])
async def test_calls_that_began_before_it_opened_are_no_news(store: Store, end: InfrastructureError | None) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def late() -> None:
        with store.breaker.guard():
            begun.set()
            await may_end.wait()
            if end is not None:
                raise end

    running = asyncio.create_task(late())
    await begun.wait()
    await store.fail()
    may_end.set()
    await asyncio.wait([running])
    assert running.exception() is end
    assert not store.breaker.closed
    assert store.changes == [True]


async def test_it_heals_even_if_the_pause_is_over_before_it_is_seen_to_be_open(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = store.breaker._count

    def count_slowly(error: Exception) -> None:
        count(error)
        clock.now += SETTINGS.pause_s

    monkeypatch.setattr(store.breaker, "_count", count_slowly)
    await store.fail()
    store.probe_error = None
    await until_probed(store, 1)
    await asyncio.sleep(0)
    assert store.breaker.closed
    assert store.changes == [True, False]


async def test_it_opens_again(store: Store) -> None:
    store.probe_error = None
    for _ in range(3):
        await store.fail()
        await until_probed(store, len(store.probes) + 1)
        await asyncio.sleep(0)
    assert store.changes == [True, False] * 3


async def test_a_group_shows_states_and_metrics_and_wakes_who_waits() -> None:
    name = f"storage-{uuid4()}"
    breakers = Breakers("tests", SETTINGS)
    breaker = breakers.create(name, StorageUnavailable)
    changed = breakers.changed
    assert (breakers.states, OPEN.labels("tests", name)._value.get()) == ({name: BreakerState.CLOSED}, 0)
    for _ in range(SETTINGS.failures):
        with suppress(StorageUnavailable), breakers[name].guard():
            raise StorageUnavailable("refused")
    assert (breakers.states, OPEN.labels("tests", name)._value.get()) == ({name: BreakerState.OPEN}, 1)
    assert changed.is_set()
    assert not breakers.changed.is_set()
    assert not breaker.closed
    await breakers.close()
    await breakers.close()


async def test_a_dependency_returns_when_it_was_down_and_is_back() -> None:
    name = f"storage-{uuid4()}"
    breakers = Breakers("tests", BreakerSettings(failures=1, pause_s=0.01))
    breaker = breakers.create(name, StorageUnavailable)
    waiting = asyncio.create_task(breakers.wait_for_return(name))
    await asyncio.sleep(0)
    breakers.wake()
    await asyncio.sleep(0)
    assert not waiting.done()
    with suppress(StorageUnavailable), breaker.guard():
        raise StorageUnavailable("refused")
    async with asyncio.timeout(60):
        await waiting
    assert breaker.closed
    await breakers.close()
