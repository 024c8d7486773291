"""The batcher: each caller gets its own answer, whatever becomes of its neighbours; batches go when full or due."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from common import tracing
from common.batcher import Batcher
from common.errors import Overloaded
from tests.fakes.flush import NEVER_S, Flush, busy, submit, waiting
from tests.fixtures.tracing import context_of, kept_spans


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    count=st.integers(0, 40),
    max_size=st.integers(1, 8),
    concurrency=st.integers(1, 4),
    max_wait=st.sampled_from([0, 0.001]),
)
async def test_every_caller_gets_its_own_answer(count: int, max_size: int, concurrency: int, max_wait: float) -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", max_size=max_size, max_wait=max_wait, concurrency=concurrency)
    assert await asyncio.gather(*map(batcher.submit, range(count))) == [10 * item for item in range(count)]
    assert [item for batch in flush.batches for item in batch] == list(range(count)), "once each, in order"
    assert all(1 <= len(batch) <= max_size for batch in flush.batches)
    assert flush.most_running <= concurrency
    await batcher.close()


async def test_one_items_error_is_its_callers_alone() -> None:
    async def flush(items: list[int]) -> list[int | Exception]:
        return [ValueError(f"no {item}") if item % 2 else item for item in items]

    batcher = Batcher(flush, name="test", max_size=10, max_wait=0.001)
    answers = await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["0", "no 1", "2", "no 3"]


async def short(items: list[int]) -> list[int]:
    return items[1:]


async def long(items: list[int]) -> list[int]:
    return [*items, 0]


async def nothing(items: list[int]) -> list[int]:
    return None  # type: ignore[return-value] # a flush that forgot to answer


@pytest.mark.parametrize("flush", [short, long, nothing])
async def test_a_flush_that_miscounts_fails_its_batch(flush: Callable[[list[int]], Awaitable[list[int]]]) -> None:
    batcher = Batcher(flush, name="test", max_size=3, max_wait=NEVER_S)
    answers = await asyncio.gather(*map(batcher.submit, range(3)), return_exceptions=True)
    assert [isinstance(answer, RuntimeError | TypeError) for answer in answers] == [True] * 3


async def test_a_flush_that_raises_fails_its_batch_and_no_other() -> None:
    async def flush(items: list[int]) -> list[int]:
        if 0 in items:
            raise OSError("the database is away")
        return items

    batcher = Batcher(flush, name="test", max_size=2, max_wait=NEVER_S)
    answers = await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)
    assert [isinstance(answer, OSError) for answer in answers] == [True, True, False, False]
    assert answers[2:] == [2, 3]


async def test_a_full_batch_does_not_wait() -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", max_size=3, max_wait=NEVER_S, concurrency=2)
    await asyncio.gather(*map(batcher.submit, range(6)))
    assert flush.batches == [[0, 1, 2], [3, 4, 5]]


async def test_a_batch_that_does_not_fill_goes_when_its_first_item_has_waited() -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", max_size=10, max_wait=0.001)
    assert await asyncio.gather(*map(batcher.submit, range(3))) == [0, 10, 20]
    assert flush.batches == [[0, 1, 2]]
    assert await batcher.submit(3) == 30, "and the next one gets a wait of its own"


async def test_without_a_wait_an_item_goes_at_once() -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", max_size=10, max_wait=0)
    assert await batcher.submit(1) == 10


async def test_batches_grow_while_the_flush_is_busy() -> None:
    async with busy(max_wait=0) as (batcher, flush):
        tasks = [submit(batcher, item) for item in range(5)]
        await waiting(batcher, 5)
        assert len(flush.batches) == 1, "nothing starts beside the one that runs"
        flush.let_through()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40]
    assert flush.batches == [[-1], [0, 1, 2, 3, 4]]


async def test_what_gathered_while_busy_is_due_without_being_full() -> None:
    async with busy(max_size=1, max_wait=NEVER_S) as (batcher, flush):
        later = submit(batcher, 1)
        await waiting(batcher, 1)
        flush.let_through()
        assert await later == 10


async def test_as_many_flushes_run_as_are_allowed() -> None:
    async with busy(concurrency=3, max_size=1) as (batcher, flush):
        assert flush.running == 3
        extra = submit(batcher, 1)
        await waiting(batcher, 1)
        assert flush.running == 3
        flush.let_through()
        assert await extra == 10
    assert flush.most_running == 3


async def test_too_much_waiting_is_refused_at_once_and_taken_again_later() -> None:
    async with busy(max_pending=2) as (batcher, flush):
        accepted = [submit(batcher, item) for item in (1, 2)]
        await waiting(batcher, 2)
        with pytest.raises(Overloaded):
            await batcher.submit(3)
        flush.let_through()
        assert await asyncio.gather(*accepted) == [10, 20]
        assert await batcher.submit(3) == 30


async def test_who_has_gone_costs_nothing() -> None:
    async with busy() as (batcher, flush):
        tasks = [submit(batcher, item) for item in range(3)]
        await waiting(batcher, 3)
        tasks[1].cancel()
        await asyncio.wait(tasks[1:2])
        flush.let_through()
        assert [await tasks[0], await tasks[2]] == [0, 20]
    assert flush.batches == [[-1], [0, 2]]


async def test_who_has_gone_takes_no_place_in_the_queue() -> None:
    async with busy(max_pending=1) as (batcher, flush):
        gone = submit(batcher, 1)
        await waiting(batcher, 1)
        gone.cancel()
        await asyncio.wait([gone])
        present = submit(batcher, 2)
        flush.let_through()
        assert await present == 20


async def test_a_batch_of_which_all_have_gone_is_not_flushed() -> None:
    async with busy() as (batcher, flush):
        gone = [submit(batcher, item) for item in range(3)]
        await waiting(batcher, 3)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
    assert flush.batches == [[-1]]


async def test_who_goes_while_its_batch_runs_harms_no_other() -> None:
    flush = Flush(blocked=True)
    batcher = Batcher(flush, name="test", max_size=2, max_wait=NEVER_S)
    stays, goes = submit(batcher, 1), submit(batcher, 2)
    await flush.started.acquire()
    goes.cancel()
    await asyncio.wait([goes])
    flush.let_through()
    assert await stays == 10
    assert goes.cancelled()


async def test_close_answers_what_waits_and_refuses_what_comes() -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", max_size=9, max_wait=NEVER_S)
    tasks = [submit(batcher, item) for item in range(3)]
    await waiting(batcher, 3)
    await batcher.close()
    assert await asyncio.gather(*tasks) == [0, 10, 20]
    with pytest.raises(RuntimeError, match="closed"):
        await batcher.submit(5)
    await batcher.close()


async def test_close_waits_for_running_flushes() -> None:
    flush = Flush(blocked=True)
    batcher = Batcher(flush, name="test", max_size=1, max_wait=0)
    task = submit(batcher, 1)
    await flush.started.acquire()
    closing = asyncio.ensure_future(batcher.close())
    assert await asyncio.wait([closing], timeout=0.01) == (set(), {closing})
    flush.let_through()
    await closing
    assert await task == 10


async def test_a_cancelled_flush_cancels_its_callers_and_gives_its_place_back() -> None:
    calls = 0

    async def flush(items: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        return items

    batcher = Batcher(flush, name="test", max_size=2, max_wait=NEVER_S)
    answers = await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, True, False, False]
    assert answers[2:] == [2, 3]


async def test_an_idle_batcher_has_no_task() -> None:
    before = asyncio.all_tasks()
    batcher = Batcher(Flush(), name="test", max_size=1, max_wait=0)
    await batcher.submit(1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": 0, "max_wait": 0},
        {"max_size": 1, "max_wait": -1},
        {"max_size": 1, "max_wait": 0, "concurrency": 0},
        {"max_size": 1, "max_wait": 0, "max_pending": 0},
    ],
)
async def test_senseless_limits_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Batcher(Flush(), name="test", **options)


async def flush_context(ids: list[str]) -> list[dict[str, object]]:
    """Answer each item the context that the flush runs in."""
    return [structlog.contextvars.get_contextvars() for _ in ids]


async def submit_as(batcher: Batcher[str, dict[str, object]], request_id: str) -> dict[str, object]:
    with structlog.contextvars.bound_contextvars(request_id=request_id, image_id="its own"), tracing.span(request_id):
        return await batcher.submit(request_id)


async def test_a_flush_runs_under_its_callers_id_and_nothing_else_of_theirs() -> None:
    batcher = Batcher(flush_context, name="test", max_size=10, max_wait=0.001)
    answers = await asyncio.gather(*(submit_as(batcher, "a") for _ in range(3)))
    assert answers == [{"request_id": "a"}] * 3


async def test_a_flush_for_several_requests_has_an_id_of_its_own_and_names_theirs() -> None:
    batcher = Batcher(flush_context, name="test", max_size=10, max_wait=0.001)
    first, second = await asyncio.gather(submit_as(batcher, "a"), submit_as(batcher, "b"))
    assert first == second
    assert first["request_ids"] == ["a", "b"]
    assert first["request_id"] not in {"a", "b"}


async def test_a_flush_is_a_span_below_its_first_caller_linked_to_the_others() -> None:
    batcher = Batcher(flush_context, name="test", max_size=10, max_wait=0.001)
    with kept_spans() as spans:
        await asyncio.gather(submit_as(batcher, "a"), submit_as(batcher, "b"))
    batch = spans.named("batch")
    assert batch.parent == context_of(spans.named("a"))
    assert [link.context for link in batch.links] == [context_of(spans.named("b"))]
    assert batch.attributes == {"likeness.batch_size": 2}
