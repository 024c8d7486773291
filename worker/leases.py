"""Keeping the leases of what is in flight from running out."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from common.db.attempts import LEASE, Fence
from common.errors import InfrastructureError
from worker.moves import Moves

log = structlog.get_logger(__name__)


class Leases:
    """Renews all held leases together, three times per lease period."""

    def __init__(self, moves: Moves, lease: timedelta = LEASE) -> None:
        self._moves = moves
        self._interval_s = lease.total_seconds() / 3
        self._held: set[Fence] = set()

    @contextmanager
    def hold(self, fence: Fence) -> Iterator[None]:
        """Keep this lease renewed while inside."""
        self._held.add(fence)
        try:
            yield
        finally:
            self._held.discard(fence)

    def holds(self, fence: Fence) -> bool:
        """Tell whether the lease was still ours when it was last renewed."""
        return fence in self._held

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            held = list(self._held)
            if not held:
                continue
            try:
                owned = await self._moves.renew(held)
            except InfrastructureError as error:
                log.warning("lease_renewal_failed", images=len(held), error=str(error))
                continue
            lost = [fence for fence in held if fence.id not in owned and fence in self._held]
            self._held.difference_update(lost)  # their attempts stop before the next stage
            if lost:
                log.warning("leases_lost", image_ids=[str(fence.id) for fence in lost])
