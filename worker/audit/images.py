"""The walk over the rows: has each image all that its state promises?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.db import embeddings, inventory
from common.db.engine import Database
from common.db.inventory import Entry
from common.db.models import EmbeddingModel, Image
from common.payloads import payload_of
from common.status import ImageStatus
from common.storage import MAX_LISTED, ObjectStore, object_key, thumbnail_key
from common.vectors.base import ROUNDING, Collection, VectorIndex
from worker.audit.report import Mismatch

_BYTES_PER_NUMBER = np.dtype("<f4").itemsize


@dataclass(frozen=True, slots=True)
class Finding:
    """An image and all that is wrong with it."""

    image: Image
    problems: frozenset[Mismatch]
    size_found: int | None = None
    """Size of its original as it is, in bytes."""


@dataclass(frozen=True, slots=True)
class AuditedModel:
    """A live model, and its collection if that is fit for use."""

    row: EmbeddingModel
    collection: Collection | None

    @property
    def active(self) -> bool:
        """Whether all that is `done` must be in its collection; in a building one's is what is noted to be there."""
        return self.row.state == "active"


class ImageCheck:
    """Checks pages of rows that follow each other in the order of their hashes."""

    def __init__(
        self, database: Database, storage: ObjectStore, vectors: VectorIndex, model: AuditedModel | None
    ) -> None:
        """Check by a model; objects are looked at with the active one, or none."""
        self._database = database
        self._storage = storage
        self._vectors = vectors
        self._model = model

    async def check(self, page: Sequence[Entry]) -> list[Finding]:
        """Return what is wrong with the settled images of a page, as far as their rows have not changed meanwhile."""
        entries = [entry for entry in page if entry.settled]
        if not entries:
            return []
        problems: dict[Image, set[Mismatch]] = {entry.image: set() for entry in entries}
        sizes = await self._check_objects(problems) if self._model is None or self._model.active else {}
        if self._model is not None:
            self._check_embeddings(self._model.row, entries, problems)
            if self._model.collection is not None:
                await self._check_points(self._model.collection, problems)
                await self._check_vectors(self._model, self._model.collection, problems)
        suspects = [
            Finding(image, frozenset(found), sizes.get(image.object_key)) for image, found in problems.items() if found
        ]
        async with self._database.begin() as session:
            unchanged = await inventory.find_unchanged(session, [suspect.image for suspect in suspects])
        return [suspect for suspect in suspects if suspect.image.id in unchanged]

    async def _check_objects(self, problems: dict[Image, set[Mismatch]]) -> dict[str, int]:
        hashes = sorted({image.sha256 for image in problems})
        originals = await self._find_sizes([object_key(sha256) for sha256 in hashes])
        thumbnails = await self._find_sizes([thumbnail_key(sha256) for sha256 in hashes])
        for image, found in problems.items():
            size = originals.get(image.object_key)
            if size is None:
                found.add(Mismatch.OBJECT_MISSING)
            elif size != image.byte_size:
                found.add(Mismatch.OBJECT_WRONG_SIZE)
            if _is_done(image) and thumbnail_key(image.sha256) not in thumbnails:
                found.add(Mismatch.THUMBNAIL_MISSING)
        return originals

    async def _find_sizes(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sizes of those objects that exist; `keys` are in order, and few others lie between them."""
        wanted = frozenset(keys)
        prefix = keys[0].partition("/")[0] + "/"
        sizes: dict[str, int] = {}
        after = keys[0][:-1]  # just before the first
        while True:
            listed = await self._storage.list_objects(prefix, after=after)
            sizes |= {item.key: item.size for item in listed if item.key in wanted}
            if len(listed) < MAX_LISTED or listed[-1].key >= keys[-1]:
                return sizes
            after = listed[-1].key

    def _check_embeddings(
        self, model: EmbeddingModel, entries: Iterable[Entry], problems: dict[Image, set[Mismatch]]
    ) -> None:
        for entry in entries:
            if _is_done(entry.image) and entry.embedding_bytes != model.dim * _BYTES_PER_NUMBER:
                problems[entry.image].add(Mismatch.EMBEDDING_MISSING)

    async def _check_points(self, collection: Collection, problems: dict[Image, set[Mismatch]]) -> None:
        done = [image for image in problems if _is_done(image)]
        payloads = await self._vectors.fetch_payloads(collection, [image.id for image in done])
        for image in done:
            if image.id not in payloads:
                problems[image].add(Mismatch.VECTOR_MISSING)
            # An edit that the index is still to follow is the sweep's business.
            elif image.payload_version == image.indexed_version and payloads[image.id] != payload_of(image):
                problems[image].add(Mismatch.PAYLOAD_STALE)

    async def _check_vectors(
        self, model: AuditedModel, collection: Collection, problems: dict[Image, set[Mismatch]]
    ) -> None:
        """Compare the vectors of those images that have both, a point and a cached one."""
        both = [
            image
            for image, found in problems.items()
            if _is_done(image) and not found & {Mismatch.VECTOR_MISSING, Mismatch.EMBEDDING_MISSING}
        ]
        vectors = await self._vectors.fetch(collection, [image.id for image in both])
        async with self._database.begin() as session:
            cached = await embeddings.find(session, model.row.id, [image.sha256 for image in both])
        for image in both:
            if image.id not in vectors:
                problems[image].add(Mismatch.VECTOR_MISSING)
            elif image.sha256 in cached and not _same(vectors[image.id], cached[image.sha256]):
                problems[image].add(Mismatch.VECTOR_WRONG)


def _same(vector: NDArray[np.float32], cached: NDArray[np.float32]) -> bool:
    """Compare two vectors by their direction alone; what is no direction is the same as nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.allclose(vector / np.linalg.norm(vector), cached / np.linalg.norm(cached), rtol=0, atol=ROUNDING)


def _is_done(image: Image) -> bool:
    return image.status == ImageStatus.DONE
