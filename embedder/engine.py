"""Batches across requests: images and texts of concurrent callers share forward passes."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import structlog

from common.batcher import Batcher
from common.errors import EmbedderUnavailable, LikenessError, Overloaded
from embedder.metrics import Metrics
from embedder.model import ClipModel, Kind, Pixels, Vectors
from embedder.settings import EmbedderSettings
from embedder.thread import ModelThread

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

_CPU_BATCH, _GPU_BATCH = 8, 64


class Lane(Generic[Item]):
    """One kind of item on its way through the model."""

    def __init__(
        self,
        model: str,
        kind: Kind,
        encode: Callable[[list[Item]], Vectors],
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
            model: the model's label, in the metrics.
            kind: names it there.
            encode: embeds a batch, on `thread`.
            thread: runs the batches of all lanes, first come, first served.
            metrics: is told of batches and waiting items.
            max_batch: most items of a batch.
            max_wait_s: how long the first item of a batch waits for company.
            max_pending: waiting items above which more are refused.
            ahead: batches handed to the thread at a time; with 1, another lane waits for one batch of this one at most.
        """
        self._model = model
        self._kind = kind
        self._encode = encode
        self._thread = thread
        self._metrics = metrics
        self._max_pending = max_pending
        self._batcher = Batcher(
            self._flush, max_size=max_batch, max_wait=max_wait_s, max_pending=max_pending, concurrency=ahead
        )
        self.last_success = time.monotonic()
        """When a batch last came back from the model."""
        metrics.watch_pending(model, kind, lambda: self._batcher.pending)

    async def encode(self, items: Sequence[Item], deadline: float | None = None) -> Vectors:
        """Embed items; row i of the answer belongs to item i.

        Raises:
            Overloaded: there is no room for all of them.
            TimeoutError: their turn did not come before `deadline` (loop time).
            EmbedderUnavailable: the model failed.
        """
        if self._batcher.pending + len(items) > self._max_pending:
            raise Overloaded(f"{self._batcher.pending} items are already waiting for the model")
        now = time.monotonic()
        rows = await asyncio.gather(*(self._batcher.submit((item, now), deadline=deadline) for item in items))
        return np.stack(rows)

    async def close(self) -> None:
        """Answer what waits."""
        await self._batcher.close()

    async def _flush(self, queued: list[tuple[Item, float]]) -> list[Vectors]:
        now = time.monotonic()
        self._metrics.batch(self._model, self._kind, [now - since for _, since in queued])
        items = [item for item, _ in queued]
        vectors = await self._thread.run(functools.partial(self._run, items))
        if len(vectors) != len(items):
            raise EmbedderUnavailable(f"the model answered {len(vectors)} vectors for {len(items)} items")
        self.last_success = time.monotonic()
        return list(vectors)

    def _run(self, items: list[Item]) -> Vectors:
        """Run the model; whatever it raises (torch raises RuntimeErrors), callers learn that the embedder failed."""
        try:
            return self._encode(items)
        except LikenessError:
            raise
        except Exception as error:
            log.exception("model_failed", model=self._model, kind=self._kind, items=len(items))
            raise EmbedderUnavailable(f"the model failed: {error}", code="model_failed") from error


class Engine:
    """A model and its two lanes, which take turns: texts, which people wait for, never queue behind all the images."""

    def __init__(self, model: ClipModel, thread: ModelThread, metrics: Metrics, settings: EmbedderSettings) -> None:
        self.info = model.info
        cuda = model.info.device == "cuda"
        create_lane = functools.partial(
            Lane,
            model.info.label,
            thread=thread,
            metrics=metrics,
            max_batch=settings.max_batch or (_GPU_BATCH if cuda else _CPU_BATCH),
            max_wait_s=settings.max_wait_ms / 1000,
            max_pending=settings.max_pending,
        )
        # On a GPU a second batch is handed over early: the device would idle while the next one is put together.
        ahead = 2 if cuda else 1
        self.images: Lane[Pixels] = create_lane(
            "image", lambda images: model.encode_pixels(np.stack(images)), ahead=ahead
        )
        self.texts: Lane[str] = create_lane("text", model.encode_texts, ahead=1)

    @property
    def last_success(self) -> float:
        """When a batch of either kind last came back from the model (`time.monotonic()`)."""
        return max(self.images.last_success, self.texts.last_success)

    async def close(self) -> None:
        """Answer what waits, in both lanes."""
        await asyncio.gather(self.images.close(), self.texts.close())
