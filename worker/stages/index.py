"""Index: the vector becomes a point that searches find."""

from common.batcher import Batcher, blaming_one
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

    def __init__(self, vectors: VectorIndex, collection: Collection) -> None:
        self._vectors = vectors
        self._collection = collection
        self._points: Batcher[Point, None] = Batcher(
            blaming_one(self._flush, VectorIndexRefused), max_size=_BATCH, max_wait=_WAIT_S
        )

    async def run(self, work: Work) -> None:
        """Write `work.vector` with the payload of the claimed row."""
        if work.vector is None:
            raise RuntimeError("`embed` has not run")
        point = Point(work.claim.id, work.vector, payload_of(work.claim))
        try:
            validate_points(self._collection, [point])
        except ValueError as error:  # what the embedder answers has been checked: this one was kept, and is spoilt
            raise LikenessError(str(error), code="vector_invalid") from error
        await self._points.submit(point)

    async def _flush(self, points: list[Point]) -> list[None]:
        await self._vectors.upsert(self._collection, points)
        return [None] * len(points)
