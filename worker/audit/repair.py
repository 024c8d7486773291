"""Mending what an audit found wrong with images: from the cached vectors, or by the pipeline; never by a guess."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum
from uuid import UUID

import structlog

from common.db import embedding_models, embeddings, indexings, inventory, lifecycle, reembeds, tombstones
from common.db.attempts import Fence
from common.db.engine import Database
from common.db.model_lock import hold_models
from common.db.models import EmbeddingModel, Image
from common.errors import ObjectCorrupt, ObjectNotFound
from common.payloads import payload_of, sync_payload
from common.storage import ObjectStore
from common.transitions import log_moves
from common.vectors.base import Collection, Point, VectorIndex, validate_points
from worker.audit.images import AuditedModel, Finding
from worker.audit.report import Mismatch

log = structlog.get_logger(__name__)

_REQUEUED_BY = "audit"
_FETCHED_AT_ONCE = 4
"""Originals in memory at the same time."""

_ORIGINAL = frozenset({Mismatch.OBJECT_MISSING, Mismatch.OBJECT_WRONG_SIZE})
_POINT = frozenset({Mismatch.VECTOR_MISSING, Mismatch.VECTOR_WRONG})
_BY_PIPELINE = frozenset({Mismatch.THUMBNAIL_MISSING, Mismatch.EMBEDDING_MISSING}) | _POINT


class Remedy(Enum):
    """What can be done for an image."""

    RESTORE = _POINT | {Mismatch.PAYLOAD_STALE}
    """Write its point from the cached vector; no model is called, nothing is fetched."""
    SYNC = frozenset({Mismatch.PAYLOAD_STALE})
    """Write the payload of its row."""
    REDO = _BY_PIPELINE | {Mismatch.PAYLOAD_STALE}
    """Put it back to `pending`: the pipeline makes thumbnail, vector and point again, from the original.

    What is missing of a building model alone is made again by its fill.
    """


def choose_remedy(problems: frozenset[Mismatch]) -> Remedy | None:
    """Choose the cheapest remedy for all that can be mended; None: nothing can, or the original is needed and bad."""
    if problems & {Mismatch.THUMBNAIL_MISSING, Mismatch.EMBEDDING_MISSING} and not problems & _ORIGINAL:
        return Remedy.REDO
    if problems & _POINT and Mismatch.EMBEDDING_MISSING not in problems:
        return Remedy.RESTORE
    if Mismatch.PAYLOAD_STALE in problems:
        return Remedy.SYNC
    return None


class Repair:
    """Mends images. Safe to repeat, beside the pipeline, edits and deletions, and beside another audit."""

    def __init__(self, database: Database, storage: ObjectStore, vectors: VectorIndex, model: AuditedModel) -> None:
        """Mend images, by one of the live models.

        Args:
            database: where the rows and the cached vectors are.
            storage: where the originals are.
            vectors: where the points belong.
            model: one of these; without a fit collection, points and payloads stay as they are.
        """
        self._database = database
        self._storage = storage
        self._vectors = vectors
        self._model = model

    async def repair(self, findings: Sequence[Finding]) -> dict[UUID, frozenset[Mismatch]]:
        """Do what can be done; return what was mended, or put on its way, by image."""
        chosen: defaultdict[Remedy | None, list[Finding]] = defaultdict(list)
        for finding in findings:
            chosen[choose_remedy(finding.problems)].append(finding)
        restored = await self._restore([finding.image for finding in chosen[Remedy.RESTORE]])
        for finding in chosen[Remedy.RESTORE]:
            # Its cached vector is unfit, or gone since it was seen: it has to be made again.
            if finding.image.id not in restored and not finding.problems & _ORIGINAL:
                chosen[Remedy.REDO].append(finding)
        synced = await self._sync([finding.image for finding in chosen[Remedy.SYNC]])
        redone = await (self._redo if self._model.active else self._refill)(chosen[Remedy.REDO])
        mended = ((Remedy.RESTORE, restored), (Remedy.SYNC, synced), (Remedy.REDO, redone))
        return {id_: remedy.value for remedy, ids in mended for id_ in ids}

    async def _restore(self, images: Sequence[Image]) -> set[UUID]:
        """Write points from cached vectors; return the images whose vector was there and fit to be written."""
        collection = self._model.collection
        if not images or collection is None:
            return set()
        points = await self._load_points(self._model.row, collection, images)
        await self._vectors.upsert(collection, points)
        await self._catch_up(collection, images)
        return {point.id for point in points}

    async def _load_points(self, model: EmbeddingModel, collection: Collection, images: Iterable[Image]) -> list[Point]:
        async with self._database.begin() as session:
            vectors = await embeddings.find(session, model.id, [image.sha256 for image in images])
        points = [
            Point(image.id, vectors[image.sha256], payload_of(image)) for image in images if image.sha256 in vectors
        ]
        return [point for point in points if _fits(collection, point)]

    async def _catch_up(self, collection: Collection, images: Sequence[Image]) -> None:
        """Undo or correct what was written for images that were deleted or edited meanwhile.

        Their own purge and sync may have come before the point; what comes after this sees the point.
        """
        async with self._database.begin() as session:
            now = await inventory.load(session, [image.id for image in images])
        await self._vectors.delete(collection, [image.id for image in images if image.id not in now])
        for image in images:
            if image.id in now and now[image.id].payload_version != image.payload_version:
                await self._sync([now[image.id]])

    async def _sync(self, images: Sequence[Image]) -> set[UUID]:
        async with self._database.begin() as session:
            models = await embedding_models.list_live(session)
        for image in images:
            await sync_payload(self._database, self._vectors, models, image)
        return {image.id for image in images}

    async def _refill(self, findings: Sequence[Finding]) -> set[UUID]:
        """Leave images to the fill of a building model: they stay `done`, as nobody searches its collection."""
        model_id, images = self._model.row.id, [finding.image for finding in findings]
        if not images:
            return set()
        async with self._database.begin() as session:
            await hold_models(session)
            await indexings.remove(session, model_id, [image.id for image in images])
            await embeddings.forget(session, model_id, [image.sha256 for image in images])
            await reembeds.catch_up(session, [model_id])
        return {image.id for image in images}

    async def _redo(self, findings: Sequence[Finding]) -> set[UUID]:
        redone: set[UUID] = set()
        for start in range(0, len(findings), _FETCHED_AT_ONCE):
            some = findings[start : start + _FETCHED_AT_ONCE]
            redone |= {id_ for ids in await asyncio.gather(*map(self._redo_one, some)) for id_ in ids}
        return redone

    async def _redo_one(self, finding: Finding) -> set[UUID]:
        """Requeue an image, once its original has proved good: else it would leave `done` for nothing."""
        image = finding.image
        if not await self._has_good_original(image):
            log.warning("audit_cannot_redo", image_id=str(image.id), object_key=image.object_key)
            return set()
        reason = min(finding.problems & _BY_PIPELINE)
        async with self._database.begin() as session:
            moved = await lifecycle.redo(session, [Fence(image.id, image.attempt)], _REQUEUED_BY, reason)
            if moved:
                # An image whose vector is cached skips the stages that make the thumbnail.
                await tombstones.forget_embeddings(session, image.sha256)
        log_moves(moved.values())
        return set(moved)

    async def _has_good_original(self, image: Image) -> bool:
        try:
            data = await self._storage.get(image.object_key, max_bytes=image.byte_size)
        except (ObjectNotFound, ObjectCorrupt):
            return False
        return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()) == image.sha256


def _fits(collection: Collection, point: Point) -> bool:
    try:
        validate_points(collection, [point])
    except ValueError:
        return False
    return True
