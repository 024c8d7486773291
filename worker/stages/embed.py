"""Embed: pixels to vector, by the embedder; the vector is saved before anything is indexed."""

import numpy as np
from numpy.typing import NDArray

from common.batcher import Batcher, blaming_one
from common.embedder_client import ModelClient
from common.errors import EmbeddingInvalid
from worker.moves import Moves
from worker.work import Work

_WAIT_S = 0.02
# One batch computes while the next travels.
_CONCURRENCY = 2


class Embed:
    """Sends the pixels of concurrent images as one request; a picture the model makes no vector of fails alone."""

    name = "embed"

    def __init__(self, embedder: ModelClient, moves: Moves, batch_size: int) -> None:
        self._moves = moves
        self._vectors: Batcher[NDArray[np.uint8], NDArray[np.float32]] = Batcher(
            blaming_one(embedder.encode_pixels, EmbeddingInvalid),
            max_size=batch_size,
            max_wait=_WAIT_S,
            concurrency=_CONCURRENCY,
        )

    async def run(self, work: Work) -> None:
        """Set `work.vector`, save it, and move the image to `indexing`."""
        if work.vector is None:
            if work.pixels is None:
                raise RuntimeError("`decode` has not run")
            work.vector = await self._vectors.submit(work.pixels)
            work.pixels = None
        await self._moves.keep_vector(work.claim, work.vector)
