"""Removing what a deleted image leaves in the stores: its vector and, when no other image uses them, its bytes."""

import asyncio
from datetime import timedelta
from uuid import UUID

import structlog

from common.db import embedding_models, quarantine, tombstones
from common.db.engine import Database
from common.errors import InfrastructureError
from common.storage import ObjectStore, hash_of, object_key, thumbnail_key
from common.vectors.base import Collection, VectorIndex

log = structlog.get_logger(__name__)


class Purge:
    """Purges once when an image is deleted, and once more when no worker can still be writing (the sweep)."""

    def __init__(self, database: Database, storage: ObjectStore, vectors: VectorIndex) -> None:
        self._database = database
        self._storage = storage
        self._vectors = vectors

    async def try_now(self, image_id: UUID, sha256: str) -> None:
        """Purge at once; what fails is logged and left to the sweep, which has the tombstone."""
        try:
            await self.purge(image_id, sha256)
        except InfrastructureError as error:
            log.warning("purge_postponed", image_id=str(image_id), code=error.code, error=str(error))

    async def purge(self, image_id: UUID, sha256: str) -> None:
        """Remove vector, bytes, thumbnail and cached embeddings, as far as no other image uses them. Idempotent."""
        async with self._database.begin() as session:
            collections = [
                Collection(model.collection, model.dim) for model in await embedding_models.list_live(session)
            ]
        for collection in collections:
            await self._vectors.ensure(collection)
            await self._vectors.delete(collection, [image_id])
        await self._purge_bytes(sha256)

    async def _purge_bytes(self, sha256: str) -> None:
        """Remove what no image uses; a cancellation is answered when that is done."""
        removing = asyncio.ensure_future(self._remove_bytes(sha256))
        try:
            await asyncio.shield(removing)
        except asyncio.CancelledError:
            # The lock must be held until the store has answered: an upload of the same bytes waits for it.
            await asyncio.wait([removing])
            raise

    async def _remove_bytes(self, sha256: str) -> None:
        async with self._database.begin() as session:
            if not await tombstones.lock_for_purge(session, sha256):
                return
            await tombstones.forget_embeddings(session, sha256)
        # In a transaction of its own, so that no vector outlives its thumbnail if this one fails half-way.
        async with self._database.begin() as session:
            if await tombstones.lock_for_purge(session, sha256):
                await self._storage.delete(object_key(sha256))
                await self._storage.delete(thumbnail_key(sha256))

    async def purge_orphans(self, *, older_than: timedelta, limit: int = 100) -> int:
        """Delete objects that have been in quarantine for so long, unless an image has them now; return how many left.

        Whether one has them is asked under the lock that recording an upload takes, see `lock_for_purge`.
        """
        async with self._database.begin() as session:
            due = await quarantine.find_due(session, older_than=older_than, limit=limit)
        for key in due:
            if (sha256 := hash_of(key)) is not None:
                await self._purge_bytes(sha256)
            async with self._database.begin() as session:
                await quarantine.remove(session, [key])
        return len(due)

    async def purge_due(self, *, limit: int = 100) -> int:
        """Purge what was deleted long enough ago, for the last time; return how many."""
        async with self._database.begin() as session:
            due = await tombstones.find_due(session, limit=limit)
        for tombstone in due:
            await self.purge(tombstone.image_id, tombstone.sha256)
            async with self._database.begin() as session:
                await tombstones.remove(session, [tombstone.image_id])
        return len(due)
