import asyncio
import threading

import pytest

from embedder.thread import ModelThread


@pytest.fixture
def thread():  # type: ignore[no-untyped-def]  # a generator fixture
    running = ModelThread()
    yield running
    assert running.stop(10)


async def test_calls_run_in_order_on_one_thread(thread: ModelThread) -> None:
    seen: list[tuple[int, int]] = []

    def note(number: int) -> int:
        seen.append((number, threading.get_ident()))
        return number * 2

    results = await asyncio.gather(*(thread.run(lambda n=n: note(n)) for n in range(20)))  # type: ignore[misc]

    assert results == [n * 2 for n in range(20)]
    assert [number for number, _ in seen] == list(range(20))
    assert len({ident for _, ident in seen} - {threading.get_ident()}) == 1


async def test_an_error_reaches_its_caller_and_no_other(thread: ModelThread) -> None:
    def fail() -> None:
        raise LookupError("mine")

    first, second = await asyncio.gather(thread.run(fail), thread.run(lambda: 1), return_exceptions=True)

    assert isinstance(first, LookupError)
    assert second == 1


async def test_a_cancelled_call_does_not_run(thread: ModelThread) -> None:
    gate, ran = threading.Event(), []
    busy = asyncio.create_task(thread.run(gate.wait))
    cancelled = asyncio.create_task(thread.run(lambda: ran.append(1)))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    gate.set()

    await busy
    assert await thread.run(lambda: "next") == "next"
    assert ran == []


async def test_stopping_a_hung_thread_gives_up() -> None:
    gate = threading.Event()
    hung = ModelThread()
    task = asyncio.create_task(hung.run(gate.wait))
    await asyncio.sleep(0)

    assert not hung.stop(0.01)
    gate.set()
    await task
    assert hung.stop(10)
