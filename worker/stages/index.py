"""Index: the vectors become points that searches find."""

from functools import partial

from common.batcher import Batcher, blaming_one
from common.db.models import EmbeddingModel
from common.errors import LikenessError, VectorIndexRefused
from common.payloads import payload_of
from common.vectors.base import Collection, Point, VectorIndex, validate_points
from worker.work import Work

_BATCH = 64
_WAIT_S = 0.01


class Index:
    """Upserts the points of concurrent images as one request. The point's id is the image's, so a rerun overwrites.

    A point that is refused fails alone.
    """

    name = "index"

    def __init__(self, vectors: VectorIndex) -> None:
        self._vectors = vectors
        self._points: dict[Collection, Batcher[Point, None]] = {}

    async def run(self, work: Work) -> None:
        """Write `work.vectors` with the payload of the claimed row, each to its model's collection."""
        if work.vector is None:
            raise RuntimeError("`embed` has not run")

        async def index(model: EmbeddingModel) -> None:
            if model.id in work.vectors:
                await self._write(Collection(model.collection, model.dim), work, model.id)

        await work.for_each_model(index)

    async def _write(self, collection: Collection, work: Work, model_id: int) -> None:
        point = Point(work.claim.id, work.vectors[model_id], payload_of(work.claim))
        try:
            validate_points(collection, [point])
        except ValueError as error:  # what the embedder answers has been checked: this one was kept, and is spoilt
            raise LikenessError(str(error), code="vector_invalid") from error
        await self._vectors.ensure(collection)
        await self._batches_of(collection).submit(point)
        work.indexed.add(model_id)

    def _batches_of(self, collection: Collection) -> Batcher[Point, None]:
        if collection not in self._points:
            self._points[collection] = Batcher(
                blaming_one(partial(self._flush, collection), VectorIndexRefused),
                name="index",
                max_size=_BATCH,
                max_wait=_WAIT_S,
            )
        return self._points[collection]

    async def _flush(self, collection: Collection, points: list[Point]) -> list[None]:
        await self._vectors.upsert(collection, points)
        return [None] * len(points)
