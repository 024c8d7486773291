"""A flush for batchers that can be held up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from common.batcher import Batcher

NEVER_S = 3600.0


class Flush:
    """Answers ten times each item once it is let through, and remembers the batches it was given."""

    def __init__(self, *, blocked: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self.most_running = 0
        self.started = asyncio.Semaphore(0)
        self._open = asyncio.Event()
        if not blocked:
            self._open.set()

    async def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.started.release()
        try:
            await self._open.wait()
        finally:
            self.running -= 1
        return [10 * item for item in items]

    def let_through(self) -> None:
        self._open.set()


@asynccontextmanager
async def busy(**options: float) -> AsyncIterator[tuple[Batcher[int, int], Flush]]:
    """A batcher whose flushes are all blocked; afterwards they are let through and all is answered."""
    flush = Flush(blocked=True)
    concurrency = int(options.get("concurrency", 1))
    batcher = Batcher(
        flush,
        name="test",
        max_size=int(options.get("max_size", 10)),
        max_wait=options.get("max_wait", 0),
        max_pending=int(options.get("max_pending", 100)),
        concurrency=concurrency,
    )
    first = []
    for number in range(concurrency):  # one by one: each makes a batch
        first.append(submit(batcher, -1 - number))
        await flush.started.acquire()
    try:
        yield batcher, flush
    finally:
        flush.let_through()
        await batcher.close()
    assert await asyncio.gather(*first) == [-10 * (1 + number) for number in range(concurrency)]


def submit(batcher: Batcher[int, int], item: int) -> asyncio.Task[int]:
    return asyncio.ensure_future(batcher.submit(item))


async def waiting(batcher: Batcher[int, int], number: int) -> None:
    """Let what was submitted run up to where it waits: so many items do."""
    await asyncio.sleep(0)
    assert batcher.pending == number
