"""Embed: pixels to vectors, by the embedder; they are saved before anything is indexed."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from common.batcher import Batcher, blaming_one
from common.db.models import EmbeddingModel
from common.errors import EmbeddingInvalid
from worker.moves import Moves
from worker.served import ServedModels
from worker.work import Work

_WAIT_S = 0.02
# One batch computes while the next travels.
_CONCURRENCY = 2

_Vectors = Batcher[NDArray[np.uint8], NDArray[np.float32]]


class Embed:
    """Sends the pixels of concurrent images as one request; a picture the model makes no vector of fails alone."""

    name = "embed"

    def __init__(self, served: ServedModels, moves: Moves, batch_size: int) -> None:
        self._served = served
        self._moves = moves
        self._batch_size = batch_size
        self._vectors: dict[int, _Vectors] = {}

    async def run(self, work: Work) -> None:
        """Set `work.vectors`, save them, and move the image to `indexing`."""

        async def embed(model: EmbeddingModel) -> None:
            if model.id in work.pixels:
                work.vectors[model.id] = await self._batches_of(model).submit(work.pixels[model.id])

        await work.for_each_model(embed)
        if work.vector is None:
            raise RuntimeError("`decode` has not run")
        work.pixels = {}
        await self._moves.keep_vectors(work.claim, work.vectors)

    def _batches_of(self, model: EmbeddingModel) -> _Vectors:
        if model.id not in self._vectors:
            self._vectors[model.id] = Batcher(
                blaming_one(partial(self._served.encode, model), EmbeddingInvalid),
                name="embed",
                max_size=self._batch_size,
                max_wait=_WAIT_S,
                concurrency=_CONCURRENCY,
            )
        return self._vectors[model.id]
