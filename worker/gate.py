"""The gate before a claim: while a dependency is down, images that need it are not claimed, and nobody asks in vain.

Every image needs the vector index in the end. One that was embedded before (the vector comes with the claim) needs
neither the object store nor the embedder. Images wait without a slot, so that those which can go on are not held up.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

import structlog

from common.batcher import Batcher
from common.breakers import EMBEDDER, STORAGE, VECTORS, Breakers
from common.errors import DatabaseUnavailable
from worker.metrics import AT_GATE

log = structlog.get_logger(__name__)

_BATCH = 256
_WAIT_S = 0.005

TakeSlot = Callable[[], AbstractAsyncContextManager[object]]
FindEmbedded = Callable[[Sequence[UUID]], Awaitable[set[UUID]]]


class Gate:
    """Lets images pass while the breakers of what they need are closed; one per worker."""

    def __init__(self, breakers: Breakers, find_embedded: FindEmbedded) -> None:
        """Create a gate.

        Args:
            breakers: with those of object store, vector index and embedder.
            find_embedded: tells which of these images have a vector in the cache. May raise `DatabaseUnavailable`.
        """
        self._breakers = breakers
        self._find_embedded = find_embedded
        self._asking: Batcher[UUID, bool] = Batcher(self._ask, name="gate", max_size=_BATCH, max_wait=_WAIT_S)
        self._is_open = False

    @asynccontextmanager
    async def turn(self, image_id: UUID, take_slot: TakeSlot) -> AsyncIterator[None]:
        """Wait until the image may be claimed, and hold a slot while inside."""
        while True:
            await self._wait(image_id)
            async with take_slot():
                # A breaker may have opened while this image waited for its slot.
                if await self._admits(image_id):
                    yield
                    return

    def let_all_pass(self) -> None:
        """Hold nobody up any more: the worker stops, and who waits here should see that."""
        self._is_open = True
        self._breakers.wake()

    async def close(self) -> None:
        """Wait for the question that is under way, if any."""
        await self._asking.close()

    async def _wait(self, image_id: UUID) -> None:
        while True:
            changed = self._breakers.changed
            if await self._admits(image_id):
                return
            with AT_GATE.track_inprogress():
                await changed.wait()

    async def _admits(self, image_id: UUID) -> bool:
        if self._is_open:
            return True
        if not self._breakers[VECTORS].closed:
            return False
        if self._breakers[STORAGE].closed and self._breakers[EMBEDDER].closed:
            return True
        return await self._asking.submit(image_id)

    async def _ask(self, ids: list[UUID]) -> list[bool]:
        try:
            embedded = await self._find_embedded(ids)
        except DatabaseUnavailable as error:  # let the claims find out; they leave the rows as they are
            log.warning("gate_unsure", error=str(error))
            return [True] * len(ids)
        return [id_ in embedded for id_ in ids]
