"""The sweep: a plain loop that heals what hints, dead processes and outages left behind.

Each worker runs one; what two find at once is claimed by one of them. It needs no Redis: what is due goes straight to
this worker's own pipeline.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog

from common.db import embedding_models, images, lifecycle, quarantine, searches
from common.db.engine import Database
from common.db.models import Image
from common.errors import InfrastructureError
from common.metrics import begin_at_zero
from common.payloads import sync_payload
from common.purge import Purge
from common.settings import SEARCHES_KEPT
from common.status import ImageStatus
from common.storage import ObjectStore
from common.transitions import DELETED, Move, log_moves
from common.vectors.base import VectorIndex
from worker.metrics import SWEEP_FAILURES, SWEPT
from worker.pipeline import Pipeline

log = structlog.get_logger(__name__)

UPLOAD_PATIENCE = timedelta(seconds=60)
"""How old a `created` row is when the sweep looks for its object: its upload is surely over."""
UPLOAD_EXPIRY = timedelta(hours=1)
"""How old a `created` row without object becomes; nobody was promised anything about it."""
_RESUMED = "images_resumed"
_BATCH = 256
_SEARCHES = 5_000


class Sweeper:
    """Heals, every `interval_s` seconds and once at the start."""

    def __init__(
        self,
        database: Database,
        storage: ObjectStore,
        vectors: VectorIndex,
        pipeline: Pipeline,
        *,
        interval_s: float,
        orphan_age: timedelta = quarantine.AGE,
        searches_kept: timedelta = SEARCHES_KEPT,
    ) -> None:
        self._database = database
        self._storage = storage
        self._vectors = vectors
        self._pipeline = pipeline
        self._purge = Purge(database, storage, vectors)
        self._interval_s = interval_s
        self._orphan_age = orphan_age
        self._searches_kept = searches_kept
        self._tidying: Mapping[str, Callable[[], Awaitable[int]]] = {
            "poison_buried": self._bury,
            "uploads_settled": self._settle_uploads,
            "payloads_synced": self._sync_payloads,
            "remains_purged": self._purge.purge_due,
            "orphans_deleted": lambda: self._purge.purge_orphans(older_than=self._orphan_age),
            "searches_forgotten": self._forget_searches,
        }
        for counter in (SWEPT, SWEEP_FAILURES):
            begin_at_zero(counter, [_RESUMED, *self._tidying])

    async def run(self) -> None:
        """Sweep until cancelled. At the start nothing counts as hinted: a restart should not cost an interval."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._resume_forever())
            loops.create_task(self._tidy_forever())

    async def _resume_forever(self) -> None:
        overdue = timedelta(0)
        while True:
            await self.resume(overdue=overdue)
            await asyncio.sleep(self._interval_s)
            overdue = timedelta(seconds=self._interval_s)

    async def _tidy_forever(self) -> None:
        while True:
            await self.tidy()
            await asyncio.sleep(self._interval_s)

    async def resume(self, *, overdue: timedelta) -> None:
        """Process what is due and has no hint: `pending` for at least `overdue`, or left by a worker that died."""
        await self._try(_RESUMED, lambda: self._resume(overdue))

    async def tidy(self) -> None:
        """Do every other kind of healing once."""
        for kind, step in self._tidying.items():
            await self._try(kind, step)

    async def _try(self, kind: str, step: Callable[[], Awaitable[int]]) -> None:
        """Do a step; an outage that stops it is logged, stops no other step, and the next sweep tries again."""
        try:
            healed = await step()
        except InfrastructureError as error:
            SWEEP_FAILURES.labels(kind).inc()
            log.warning("sweep_step_failed", step=kind, code=error.code, error=str(error))
            return
        if healed:
            SWEPT.labels(kind).inc(healed)
            log.info("swept", step=kind, count=healed)

    async def _bury(self) -> int:
        async with self._database.begin() as session:
            buried = await lifecycle.bury(session)
        log_moves(buried.values())
        return len(buried)

    async def _resume(self, overdue: timedelta) -> int:
        resumed = 0
        while True:
            async with self._database.begin() as session:
                due = await lifecycle.find_due(session, overdue=overdue, limit=_BATCH)
            await self._pipeline.process_all(due)
            resumed += len(due)
            if len(due) < _BATCH:
                return resumed

    async def _settle_uploads(self) -> int:
        async with self._database.begin() as session:
            unsettled = await images.find_unsettled(session, older_than=UPLOAD_PATIENCE, limit=_BATCH)
        return sum([await self._settle_upload(image) for image in unsettled])

    async def _settle_upload(self, image: Image) -> bool:
        """Move a cut-off upload on if its object is there, forget it if it is not and never will be."""
        stored = await self._storage.find(image.object_key)
        async with self._database.begin() as session:
            if stored is not None and stored.size == image.byte_size:
                moves = list((await lifecycle.mark_stored(session, [image.id])).values())
            else:
                expired = await images.expire_unsettled(session, image.id, older_than=UPLOAD_EXPIRY)
                moves = [Move(image.id, ImageStatus.CREATED, DELETED)] if expired else []
        log_moves(moves)
        return bool(moves)

    async def _forget_searches(self) -> int:
        async with self._database.begin() as session:
            return await searches.forget(session, older_than=self._searches_kept, limit=_SEARCHES)

    async def _sync_payloads(self) -> int:
        async with self._database.begin() as session:
            models = await embedding_models.list_live(session)
            stale = await images.find_stale_payloads(session, limit=_BATCH) if models else []
        for image in stale:
            await sync_payload(self._database, self._vectors, models, image)
        return len(stale)
