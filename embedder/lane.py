"""Items of concurrent requests on their way through the model, in batches."""

import asyncio
import contextvars
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from common.batcher import Batcher
from common.embedding import Priority
from common.errors import EmbedderUnavailable, LikenessError, Overloaded
from embedder.metrics import LaneName, Metrics
from embedder.thread import ModelThread

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass(slots=True)
class _Queued(Generic[Item]):
    item: Item
    since: float
    wanted: bool = True
    """False once its caller has gone; the model's thread looks before it begins."""
    begun: bool = False


class Lane(Generic[Item, Row]):
    """One kind of item, of one priority."""

    def __init__(
        self,
        name: LaneName,
        encode: Callable[[list[Item]], Sequence[Row]],
        *,
        thread: ModelThread,
        metrics: Metrics,
        max_batch: int,
        max_wait_s: float,
        max_pending: int,
        ahead: int,
    ) -> None:
        """Create a lane.

        Args:
            name: names it in the metrics, and says whether its batches overtake those of other lanes.
            encode: embeds a batch, on `thread`; row i of the answer belongs to item i.
            thread: runs the batches of all lanes of all models.
            metrics: is told of batches, and of items that wait or are dropped.
            max_batch: most items of a batch.
            max_wait_s: how long the first item of a batch waits for company.
            max_pending: waiting items above which more are refused.
            ahead: batches handed to the thread at a time.
        """
        self._name = name
        self._encode = encode
        self._thread = thread
        self._metrics = metrics
        self._max_pending = max_pending
        self._batcher: Batcher[_Queued[Item], Row] = Batcher(
            self._flush,
            name=f"embedder_{name.kind}_{name.priority}",
            max_size=max_batch,
            max_wait=max_wait_s,
            max_pending=max_pending,
            concurrency=ahead,
        )
        self.last_success = time.monotonic()
        """When a batch last came back from the model."""

    async def encode(self, items: Sequence[Item], deadline: float | None = None) -> list[Row]:
        """Embed items; row i of the answer belongs to item i.

        Items that have not begun when their caller is cancelled, or `deadline` (loop time) passes, never begin.

        Raises:
            Overloaded: there is no room for all of them.
            TimeoutError: `deadline` has passed.
            EmbedderUnavailable: the model failed.
        """
        if self._batcher.pending + len(items) > self._max_pending:
            raise Overloaded(f"{self._batcher.pending} items are already waiting for the model")
        now = time.monotonic()
        queued = [_Queued(item, now) for item in items]
        try:
            if deadline is not None and deadline <= asyncio.get_running_loop().time():
                raise TimeoutError  # `timeout_at` would let them begin first
            async with asyncio.timeout_at(deadline):
                return await asyncio.gather(*map(self._batcher.submit, queued))
        except TimeoutError:
            self._metrics.dropped(self._name, "deadline", sum(not each.begun for each in queued))
            raise TimeoutError("the deadline passed while items were waiting for the model") from None
        except asyncio.CancelledError:
            self._metrics.dropped(self._name, "caller_gone", sum(not each.begun for each in queued))
            raise
        finally:
            for each in queued:
                each.wanted = False

    async def close(self) -> None:
        """Answer what waits."""
        await self._batcher.close()

    async def _flush(self, queued: list[_Queued[Item]]) -> list[Row | Exception]:
        urgent = self._name.priority is Priority.INTERACTIVE
        inside = contextvars.copy_context()  # what is logged on the thread names the requests, too
        return await self._thread.run(functools.partial(inside.run, self._run, queued), urgent=urgent)

    def _run(self, queued: list[_Queued[Item]]) -> list[Row | Exception]:
        """Run the model, on its thread, on the items that are still wanted."""
        wanted = [each for each in queued if each.wanted]
        for each in wanted:
            each.begun = True
        rows = iter(self._embed(wanted) if wanted else ())
        gone = TimeoutError("nobody waits for this item any more")
        return [next(rows) if each.begun else gone for each in queued]

    def _embed(self, wanted: list[_Queued[Item]]) -> Sequence[Row]:
        """Embed; whatever the model raises (torch raises RuntimeErrors), callers learn that the embedder failed."""
        now = time.monotonic()
        self._metrics.batch(self._name, [now - each.since for each in wanted])
        try:
            rows = self._encode([each.item for each in wanted])
        except LikenessError:
            raise
        except Exception as error:
            log.exception("model_failed", items=len(wanted), **self._name._asdict())
            raise EmbedderUnavailable(f"the model failed: {error}", code="model_failed") from error
        if len(rows) != len(wanted):
            raise EmbedderUnavailable(f"the model answered {len(rows)} vectors for {len(wanted)} items")
        self.last_success = time.monotonic()
        return rows
