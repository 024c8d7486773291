"""Fetch: the uploaded bytes, from the object store."""

import asyncio
import hashlib

from common.errors import ObjectCorrupt
from common.storage import ObjectStore
from worker.work import Work


class Fetch:
    """Reads the object and makes sure that it is what was uploaded."""

    name = "fetch"

    def __init__(self, storage: ObjectStore) -> None:
        self._storage = storage

    async def run(self, work: Work) -> None:
        """Set `work.data`."""
        if work.embedded_before:
            return
        claim = work.claim
        data = await self._storage.get(claim.object_key, max_bytes=claim.byte_size)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        if digest != claim.sha256:
            raise ObjectCorrupt(f"the stored bytes of image {claim.id} are not those that were uploaded")
        work.data = data
