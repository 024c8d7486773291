"""Fetch: the uploaded bytes, from the object store."""

import asyncio
import hashlib

from common.budget import Budget
from common.db.attempts import Claim
from common.db.models import Image
from common.errors import ObjectCorrupt
from common.storage import ObjectStore
from worker.work import Work


async def read_original(storage: ObjectStore, image: Image | Claim) -> bytes:
    """Return the bytes that were uploaded; raises `ObjectCorrupt` where others are stored."""
    data = await storage.get(image.object_key, max_bytes=image.byte_size)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    if digest != image.sha256:
        raise ObjectCorrupt(f"the stored bytes of image {image.id} are not those that were uploaded")
    return data


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
        work.memory = await self._memory.take(work.claim.byte_size)
        work.data = await read_original(self._storage, work.claim)
