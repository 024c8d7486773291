"""Which uploads are taken in: decided before a body is read, so that who can't be served is not kept waiting for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from api.settings import UploadSettings
from common.batcher import Batcher
from common.breakers import DATABASE, STORAGE, Breakers
from common.db import overview
from common.db.engine import Database
from common.errors import Overloaded

_FRESH_S = 1.0
"""How long an answer on the backlog is good for."""
_RETRY_CONCURRENT_S = 1.0
_RETRY_BACKLOG_S = 10.0


class Admission:
    """Admits uploads to this process as long as there is room and what they need is not known to be down."""

    def __init__(self, database: Database, breakers: Breakers, limits: UploadSettings) -> None:
        self._database = database
        self._breakers = breakers
        self._limits = limits
        self._running = 0
        self._is_full = False
        self._fresh_until = 0.0
        # Whoever asks while the database is being asked waits for the same answer.
        self._asking: Batcher[None, bool] = Batcher(
            self._ask, name="admission", max_size=limits.max_concurrent, max_wait=0
        )

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Take in one upload, which lasts as long as the block.

        Raises:
            Overloaded: `too_many_uploads` run here, or the `backlog_full` of images is still to be worked off.
            DatabaseUnavailable, StorageUnavailable: the upload could not be accepted.
        """
        if self._running >= self._limits.max_concurrent:
            raise Overloaded(
                f"{self._running} uploads are running already", retry_after=_RETRY_CONCURRENT_S, code="too_many_uploads"
            )
        self._running += 1
        try:
            for name in (DATABASE, STORAGE):
                self._breakers[name].check()
            if await self._asking.submit(None):
                raise Overloaded(
                    f"more than {self._limits.max_backlog} images are waiting already",
                    retry_after=_RETRY_BACKLOG_S,
                    code="backlog_full",
                )
            yield
        finally:
            self._running -= 1

    async def close(self) -> None:
        """Wait for the answer that is under way, if any."""
        await self._asking.close()

    async def _ask(self, askers: Sequence[None]) -> list[bool]:
        now = asyncio.get_running_loop().time()
        if now >= self._fresh_until:
            async with self._database.begin() as session:
                self._is_full = await overview.backlog_exceeds(session, self._limits.max_backlog)
            self._fresh_until = now + _FRESH_S
        return [self._is_full] * len(askers)
