"""The audits that workers start by themselves: a sample each night, and one whenever the vector index comes back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import time, timedelta

import structlog

from common.db import operations
from common.db.engine import Database
from common.db.operations import AUDIT, NewOperation
from common.errors import InfrastructureError

log = structlog.get_logger(__name__)

NIGHTLY = "nightly"
INDEX_CAME_BACK = "index_came_back"
SAMPLE_FOUND = "sample_found"
"""The full audit, with fixes, after a sample that missed vectors."""
BY_ITSELF = frozenset({NIGHTLY, INDEX_CAME_BACK, SAMPLE_FOUND})
"""Origins of the audits nobody asked for."""

_LOOK_EVERY_S = 60.0


class AuditSchedule:
    """Asks for samples; of several workers that ask at once, one does."""

    def __init__(
        self,
        database: Database,
        wait_for_index: Callable[[], Awaitable[None]],
        *,
        sample: int,
        at: time,
        settle: timedelta,
    ) -> None:
        """Create the schedule of one worker.

        Args:
            database: where operations are asked for.
            wait_for_index: returns when the vector index has been down and is back.
            sample: images of a sample; 0: none are taken.
            at: when the nightly one is due, UTC by the database's clock.
            settle: how long after the index came back its sample begins: all workers notice about then, and share one.
        """
        self._database = database
        self._wait_for_index = wait_for_index
        self._sample = sample
        self._at = at
        self._settle = settle

    async def run(self) -> None:
        """Ask for what is due until cancelled. A start counts as a return of the index: what it lost, nobody saw."""
        if not self._sample:
            return
        await self.index_came_back()
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._watch_index())
            loops.create_task(self._watch_clock())

    async def _watch_index(self) -> None:
        while True:
            await self._wait_for_index()
            await self.index_came_back()

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.start_nightly()

    async def index_came_back(self) -> None:
        """Ask for a sample: an index that was away may have come back empty, or as it was last week."""
        await self._ask(INDEX_CAME_BACK, self._settle)

    async def start_nightly(self) -> None:
        """Ask for the nightly sample unless there was a sample since it was last due."""
        await self._ask(NIGHTLY, timedelta(0))

    async def _ask(self, origin: str, delay: timedelta) -> None:
        if not self._sample:
            return
        wanted = NewOperation(AUDIT, origin, {"sample": self._sample}, delay)
        try:
            async with self._database.begin() as session:
                await operations.take_turns(session)
                if origin == NIGHTLY and await operations.any_since(session, list(BY_ITSELF), self._at):
                    return
                await operations.start_unless_queued(session, wanted)
        except InfrastructureError as error:
            log.warning("audit_not_asked_for", origin=origin, error=str(error))
