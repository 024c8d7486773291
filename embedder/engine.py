"""One model's lanes: images and texts, each kind waited for by somebody, or in bulk."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from common.embedding import Priority
from embedder.caller import Caller
from embedder.lane import Lane
from embedder.metrics import LaneName, Metrics
from embedder.model import ClipModel, Kind, Pixels, Vector
from embedder.prompts import EncodedText
from embedder.settings import EmbedderSettings
from embedder.thread import ModelThread

Item = TypeVar("Item")
Row = TypeVar("Row")

_ANYBODY = Caller()
_CPU_BATCH, _GPU_BATCH = 8, 64


class _Lanes(Generic[Item, Row]):
    """The lanes of one kind of item, by priority: none of the two keeps the other out when it is full."""

    def __init__(self, create: Callable[[Priority], Lane[Item, Row]]) -> None:
        self._lanes = {priority: create(priority) for priority in Priority}

    async def encode(self, items: Sequence[Item], caller: Caller = _ANYBODY) -> list[Row]:
        """Embed items; see `Lane.encode`."""
        return await self._lanes[caller.priority].encode(items, caller.deadline)

    @property
    def last_success(self) -> float:
        return max(lane.last_success for lane in self._lanes.values())

    async def close(self) -> None:
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))


class Engine:
    """A model and its lanes, which take turns; what people wait for overtakes what workers send in bulk."""

    def __init__(self, model: ClipModel, thread: ModelThread, metrics: Metrics, settings: EmbedderSettings) -> None:
        self.info = model.info
        cuda = model.info.device == "cuda"

        def create_lane(
            kind: Kind, priority: Priority, encode: Callable[[list[Item]], Sequence[Row]]
        ) -> Lane[Item, Row]:
            return Lane(
                LaneName(model.info.label, kind, priority),
                encode,
                thread=thread,
                metrics=metrics,
                max_batch=settings.max_batch or (_GPU_BATCH if cuda else _CPU_BATCH),
                max_wait_s=settings.max_wait_ms / 1000,
                max_pending=settings.max_pending,
                # A second batch is handed over early: a GPU would idle while the next one is put together, and bulk
                # work would slip in between two urgent batches.
                ahead=2 if cuda or priority is Priority.INTERACTIVE else 1,
            )

        def encode_images(images: list[Pixels]) -> list[Vector]:
            return list(model.encode_pixels(np.stack(images)))

        def encode_texts(texts: list[str]) -> list[EncodedText]:
            return list(map(EncodedText, model.encode_texts(texts), model.count_tokens(texts)))

        self.images = _Lanes(lambda priority: create_lane("image", priority, encode_images))
        self.texts = _Lanes(lambda priority: create_lane("text", priority, encode_texts))

    @property
    def last_success(self) -> float:
        """When a batch of any lane last came back from the model (`time.monotonic()`)."""
        return max(self.images.last_success, self.texts.last_success)

    async def close(self) -> None:
        """Answer what waits, in all lanes."""
        await asyncio.gather(self.images.close(), self.texts.close())
