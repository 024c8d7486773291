"""Vectors of stored images by one model: from the cache, else from the original."""

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from common.batcher import Batcher, blaming_one
from common.budget import Budget
from common.db import embeddings
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.errors import EmbeddingInvalid, ImageRejected, LikenessError, ObjectCorrupt, ObjectNotFound
from common.storage import ObjectStore
from common.vectors.base import NORM_TOLERANCE
from worker.decode_pool import DecodePool
from worker.served import ServedModels
from worker.stages.fetch import read_original

_WAIT_S = 0.02
_CONCURRENCY = 2

Vector = NDArray[np.float32]

OF_THE_IMAGE = (ImageRejected, ObjectNotFound, ObjectCorrupt, EmbeddingInvalid)
"""What is wrong with one image, and no reason to stop."""


class Embedding:
    """Embeds stored images; two batches travel at once, and as many images are fetched and decoded for them."""

    def __init__(
        self,
        database: Database,
        storage: ObjectStore,
        decoder: DecodePool,
        served: ServedModels,
        memory: Budget,
        batch_size: int,
    ) -> None:
        self._database = database
        self._storage = storage
        self._decoder = decoder
        self._served = served
        self._memory = memory
        self._batch_size = batch_size

    async def embed(self, model: EmbeddingModel, images: Sequence[Image]) -> dict[str, Vector | LikenessError]:
        """Return the vector of each hash, or what is wrong with the image; anything else that goes wrong is raised."""
        found: dict[str, Vector | LikenessError] = {**await self._find_cached(model, images)}
        missing = list({image.sha256: image for image in images if image.sha256 not in found}.values())
        batches: Batcher[NDArray[np.uint8], Vector] = Batcher(
            blaming_one(partial(self._served.encode, model), EmbeddingInvalid),
            name="reembed",
            max_size=self._batch_size,
            max_wait=_WAIT_S,
            concurrency=_CONCURRENCY,
        )
        slots = asyncio.Semaphore(_CONCURRENCY * self._batch_size)

        async def make(image: Image) -> Vector:
            async with slots:
                return await batches.submit(await self._make_pixels(model, image))

        outcomes = await asyncio.gather(*map(make, missing), return_exceptions=True)
        for image, outcome in zip(missing, outcomes, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, OF_THE_IMAGE):
                raise outcome
            found[image.sha256] = outcome
        return found

    async def _find_cached(self, model: EmbeddingModel, images: Sequence[Image]) -> dict[str, Vector]:
        """Return the vectors that are kept, and forget those that can't be the model's."""
        async with self._database.begin() as session:
            kept = await embeddings.find(session, model.id, [image.sha256 for image in images])
            fit = {sha256: vector for sha256, vector in kept.items() if _fits(model, vector)}
            if len(fit) < len(kept):
                await embeddings.forget(session, model.id, [*kept.keys() - fit.keys()])
        return fit

    async def _make_pixels(self, model: EmbeddingModel, image: Image) -> NDArray[np.uint8]:
        preprocess = await self._served.preprocess(model)
        share = await self._memory.take(image.byte_size)
        try:
            data = await read_original(self._storage, image)
            rendered = await self._decoder.render(data, [preprocess])
        finally:
            share.give_back()
        return rendered.pixels[0]


def _fits(model: EmbeddingModel, vector: Vector) -> bool:
    return vector.shape == (model.dim,) and bool(abs(np.linalg.norm(vector) - 1) <= NORM_TOLERANCE)
