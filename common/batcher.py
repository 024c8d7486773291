"""Async coalescing: many callers, one statement or request. One primitive, used wherever I/O or a model batches.

A caller submits one item and awaits its own result. A flush runs when `max_size` items wait or the oldest has waited
`max_wait`; while all `concurrency` flushes are busy, items gather, so batches grow with load by themselves. Items
whose caller has gone (was cancelled, also by a deadline of its own) are dropped before they cost anything.

A flush runs in a context of its own, not in that of whichever caller came last: under its callers' correlation id, if
they have the same, else under one of its own (`common.correlation`), and in a span below the first of theirs, with
links to the others (`common.tracing`).
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from common import correlation, tracing
from common.batch_metrics import BatchMeter
from common.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]]
"""Takes items, returns one result or exception for each, in order. Raising fails every item of the batch."""

_PATIENCE = 3
"""After as many items that fail alone, and none that does not, the items are hardly what is wrong."""


@dataclass(slots=True)
class _Waiter(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Result]
    since: float
    request_id: str | None
    origin: tracing.Origin | None


class Batcher(Generic[Item, Result]):
    """Collects items of concurrent callers into batches; each caller gets its own result or its own error."""

    def __init__(
        self,
        flush: Flush[Item, Result],
        *,
        name: str,
        max_size: int,
        max_wait: float,
        max_pending: int = 10_000,
        concurrency: int = 1,
    ) -> None:
        """Create a batcher; it starts its flushes on demand and needs no task of its own while idle.

        Args:
            flush: does the work of one batch.
            name: names the batcher in the metrics; a constant.
            max_size: most items of one batch.
            max_wait: seconds the first item of a batch waits for company.
            max_pending: items waiting, not yet being flushed, above which `submit` refuses with `Overloaded`.
            concurrency: flushes that may run at the same time.
        """
        if max_size < 1 or concurrency < 1 or max_pending < 1 or max_wait < 0:
            raise ValueError("max_size, max_pending and concurrency must be at least 1, max_wait at least 0")
        self._flush = flush
        self._meter = BatchMeter(name)
        self._max_size = max_size
        self._max_wait = max_wait
        self._max_pending = max_pending
        self._free = concurrency
        self._waiting: deque[_Waiter[Item, Result]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pending(self) -> int:
        """Items waiting for a flush to take them."""
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Hand in one item and await its result.

        Args:
            item: goes to `flush` unchanged.

        Raises:
            Overloaded: too many items are waiting.
            Exception: whatever `flush` returned for this item, or raised for its batch.
        """
        if self._closed:
            raise RuntimeError("the batcher is closed")
        if len(self._waiting) >= self._max_pending:
            self._forget_gone()
        if len(self._waiting) >= self._max_pending:
            raise Overloaded(f"{len(self._waiting)} items are already waiting")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(item, future, time.monotonic(), correlation.current(), tracing.here()))
        self._meter.arrived()
        self._schedule()
        return await future

    async def close(self) -> None:
        """Refuse new items, flush what waits, and return when all of it is answered."""
        self._closed = True
        self._cancel_timer()
        while self._waiting or self._running:
            self._start_flushes(due=True)
            if self._running:
                await asyncio.wait(self._running)

    def _forget_gone(self) -> None:
        """Let go of items whose callers were cancelled: they must not keep others out."""
        wanted = deque(waiter for waiter in self._waiting if not waiter.future.done())
        self._meter.left(len(self._waiting) - len(wanted))
        self._waiting = wanted

    def _schedule(self) -> None:
        """Start what is full; give a started batch its `max_wait` otherwise."""
        self._start_flushes(due=self._max_wait == 0)
        if self._waiting and self._free and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._max_wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._start_flushes(due=True)

    def _start_flushes(self, *, due: bool) -> None:
        while self._free and self._waiting and (due or len(self._waiting) >= self._max_size):
            batch = self._take()
            if not batch:
                continue
            self._cancel_timer()
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._run(batch), context=contextvars.Context())
            self._running.add(task)
            task.add_done_callback(self._on_flushed)

    def _on_flushed(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free += 1
        # What gathered meanwhile has waited for a free flush already: it is due.
        self._start_flushes(due=True)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self) -> list[_Waiter[Item, Result]]:
        batch: list[_Waiter[Item, Result]] = []
        before = len(self._waiting)
        while self._waiting and len(batch) < self._max_size:
            waiter = self._waiting.popleft()
            if not waiter.future.done():  # else its caller was cancelled
                batch.append(waiter)
        self._meter.left(before - len(self._waiting))
        return batch

    async def _run(self, batch: list[_Waiter[Item, Result]]) -> None:
        correlation.join(waiter.request_id for waiter in batch)
        self._meter.began(len(batch), time.monotonic() - batch[0].since)
        try:
            with tracing.joint("batch", [waiter.origin for waiter in batch], {tracing.BATCH_SIZE: len(batch)}):
                results = await self._flush([waiter.item for waiter in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"flush answered {len(results)} results for {len(batch)} items")
        except asyncio.CancelledError:
            for waiter in batch:
                waiter.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every waiter gets it
            results = [error] * len(batch)
        for waiter, result in zip(batch, results, strict=True):
            if waiter.future.done():
                continue
            if isinstance(result, Exception):
                waiter.future.set_exception(result)
            else:
                waiter.future.set_result(result)


def blaming_one(flush: Flush[Item, Result], suspicious: type[Exception]) -> Flush[Item, Result]:
    """Make a flush in which one bad item fails alone.

    A batch that fails with a `suspicious` error is flushed again, item by item. Any other error says that the other
    side is gone, and fails all that is left at once: no item waits for a deadline that another has waited for already.
    The same goes for a `suspicious` one that every item meets.
    """

    async def flush_apart(items: list[Item]) -> Sequence[Result | Exception]:
        try:
            return await flush(items)
        except suspicious:
            if len(items) == 1:
                raise
        results: list[Result | Exception] = []
        while len(results) < len(items) and not _is_hopeless(results, suspicious):
            try:
                results.extend(await flush([items[len(results)]]))
            except Exception as error:  # noqa: BLE001 - it is this item's result
                results.append(error)
        return results + results[-1:] * (len(items) - len(results))

    return flush_apart


def _is_hopeless(results: Sequence[object], suspicious: type[Exception]) -> bool:
    if results and isinstance(results[-1], Exception) and not isinstance(results[-1], suspicious):
        return True
    return len(results) >= _PATIENCE and all(isinstance(result, Exception) for result in results)
