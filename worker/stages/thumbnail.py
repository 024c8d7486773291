"""Thumbnail: a small WebP beside the original in the object store."""

from io import BytesIO

from common.imaging import THUMBNAIL_MEDIA_TYPE
from common.storage import ObjectStore, thumbnail_key
from worker.work import Work


class Thumbnail:
    """Stores the thumbnail; content-addressed like the original, so storing it twice is the same."""

    name = "thumbnail"

    def __init__(self, storage: ObjectStore) -> None:
        self._storage = storage

    async def run(self, work: Work) -> None:
        """Store `work.thumbnail`."""
        if work.thumbnail is None:
            return
        small, work.thumbnail = work.thumbnail, None
        key = thumbnail_key(work.claim.sha256)
        await self._storage.put(key, BytesIO(small), len(small), THUMBNAIL_MEDIA_TYPE)
