"""Fetch: the uploaded bytes, from the object store."""

import asyncio
import hashlib

from common.budget import Budget
from common.errors import ObjectCorrupt
from common.storage import ObjectStore
from worker.work import Work


class Fetch:
    """Reads the object and makes sure that it is what was uploaded.

    Images wait here, in the order they came, until there is memory for their bytes: most of them will wait for a
    decoder longer than the store takes to answer.
    """

    name = "fetch"

    def __init__(self, storage: ObjectStore, memory: Budget) -> None:
        """Create the stage; `memory` is how many bytes may be held from here until they are decoded."""
        self._storage = storage
        self._memory = memory

    async def run(self, work: Work) -> None:
        """Set `work.data`, and `work.memory` to what it takes."""
        if work.embedded_before:
            return
        claim = work.claim
        work.memory = await self._memory.take(claim.byte_size)
        data = await self._storage.get(claim.object_key, max_bytes=claim.byte_size)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        if digest != claim.sha256:
            raise ObjectCorrupt(f"the stored bytes of image {claim.id} are not those that were uploaded")
        work.data = data
