"""Models without an embedder, and pictures without a decoder: an original's bytes are its pixels and its vector."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from common.budget import Budget
from common.db.engine import Database
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import ImageUnreadable
from common.imaging import Preprocess
from common.storage import ObjectStore
from common.vectors.base import VectorIndex
from tests.fixtures.rows import DIM, model_info
from worker.decode_pool import DecodePool
from worker.reembed.embedding import Embedding
from worker.reembed.fill import Reembeds
from worker.render import Rendered
from worker.served import ServedModels

SECOND = model_info(pretrained="second")


class FakeDecoder:
    """Makes a pixel of the first bytes; images whose bytes are among `broken` can't be decoded."""

    def __init__(self) -> None:
        self.broken: set[bytes] = set()

    async def render(self, data: bytes, preprocesses: Sequence[Preprocess]) -> Rendered:
        """See `DecodePool.render`."""
        if data in self.broken:
            raise ImageUnreadable("it is cut off", code="image_truncated")
        pixel = np.frombuffer(data[:DIM], dtype=np.uint8)
        return Rendered(tuple(pixel for _ in preprocesses), b"", 1, 1)


class FakeEmbedder:
    """Serves `served`; its vectors are the pixels, normalised. Set `error` to have it fail."""

    def __init__(self) -> None:
        self.served = [model_info(), SECOND]
        self.embedded = 0
        self.error: Exception | None = None

    async def models(self) -> list[ModelInfo]:
        """See `EmbedderClient.models`."""
        return self.served

    def serving(self, _: str, __: int) -> "FakeEmbedder":
        """See `EmbedderClient.serving`."""
        return self

    async def encode_pixels(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `EmbedderClient.encode_pixels`."""
        if self.error is not None:
            raise self.error
        self.embedded += len(images)
        vectors = [image.astype(np.float32) + 1 for image in images]
        return [vector / np.linalg.norm(vector) for vector in vectors]


def create_reembeds(
    database: Database, storage: ObjectStore, vectors: VectorIndex, embedder: FakeEmbedder, decoder: FakeDecoder
) -> Reembeds:
    """Make a worker's fills over these."""
    served = ServedModels(cast(EmbedderClient, embedder))
    embedding = Embedding(database, storage, cast(DecodePool, decoder), served, Budget(1_000_000), batch_size=4)
    return Reembeds(database, vectors, served, embedding)
