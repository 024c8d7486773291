"""Fingerprint: the perceptual hash, by which the picture is known again, to PostgreSQL."""

from common.batcher import Batcher
from common.db import fingerprints
from common.db.engine import Database
from worker.work import Work

_BATCH = 64
_WAIT_S = 0.005


class Fingerprint:
    """Keeps the perceptual hashes of concurrent images by one statement.

    It does so before the image is `done`: whoever is compared after this one is, finds it.
    """

    name = "fingerprint"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hashes: Batcher[tuple[str, int | None], None] = Batcher(
            self._flush, name="fingerprint", max_size=_BATCH, max_wait=_WAIT_S
        )

    async def run(self, work: Work) -> None:
        """Keep `work.perceptual_hash`, if the image has been decoded."""
        if work.pixels:
            await self._hashes.submit((work.claim.sha256, work.perceptual_hash))

    async def _flush(self, hashes: list[tuple[str, int | None]]) -> list[None]:
        async with self._database.begin() as session:
            await fingerprints.save(session, dict(hashes))
        return [None] * len(hashes)
