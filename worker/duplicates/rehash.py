"""Perceptual hashes of images that were indexed before there were any: from the original, decoded once more."""

import structlog

from common.db.models import Image
from common.errors import ImageRejected, ObjectCorrupt, ObjectNotFound
from common.storage import ObjectStore
from worker.decode_pool import DecodePool
from worker.stages.fetch import read_original

log = structlog.get_logger(__name__)


class Rehash:
    """Makes perceptual hashes one by one, so that new images get the decoders they need."""

    def __init__(self, storage: ObjectStore, decoder: DecodePool) -> None:
        self._storage = storage
        self._decoder = decoder

    async def make(self, images: list[Image]) -> dict[str, int | None]:
        """Return the hashes of images' bytes, by SHA-256; None: there is too little to see.

        What is lost or damaged has no hash, and is missing from the answer: that is the audit's business.

        Raises:
            StorageUnavailable: the object store can't be asked.
            InfrastructureError: nothing can be decoded.
        """
        made: dict[str, int | None] = {}
        for image in images:
            try:
                data = await read_original(self._storage, image)
                made[image.sha256] = (await self._decoder.render(data, [])).perceptual_hash
            except (ObjectNotFound, ObjectCorrupt, ImageRejected) as error:
                log.warning("image_not_hashed", image_id=str(image.id), code=error.code, error=str(error))
        return made
