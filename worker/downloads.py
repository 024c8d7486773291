"""The loop that downloads imports, beside the pipeline: somebody else's slow server takes no slot from an image.

What is due is claimed one by one, as often as `IMPORT__CONCURRENT` says at the same time. An image that has been
downloaded goes the way of an upload from there. What a dead worker leaves is claimed again when its time is over.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from common import correlation, tracing
from common.db import imports, tombstones
from common.db.attempts import LEASE
from common.db.engine import Database
from common.db.imports import Download, DownloadClaim
from common.error_metrics import count_error, labels_of
from common.errors import ImageRejected, InfrastructureError, LikenessError, OwnershipLost, StorageUnavailable
from common.received import ReceivedFile, screen
from common.settings import ImagePolicy, ImportSettings
from common.status import ImageStatus
from common.storage import ObjectStore, object_key
from common.transitions import Move, log_moves
from worker.metrics import DOWNLOADS, RETRIES
from worker.retry import GiveUp, decide_retry
from worker.url_fetch import Fetcher

log = structlog.get_logger(__name__)

_POLL_S = 1.0
_AT_ONCE = timedelta(0)

Process = Callable[[Iterable[UUID]], Awaitable[None]]


class Downloads:
    """Downloads what is due."""

    def __init__(
        self,
        database: Database,
        storage: ObjectStore,
        fetcher: Fetcher,
        settings: ImportSettings,
        policy: ImagePolicy,
        *,
        worker: str,
        process: Process,
        may_store: Callable[[], bool] = lambda: True,
    ) -> None:
        """Create the loop.

        Args:
            database: where the images are.
            storage: where their bytes go.
            fetcher: fetches a file from a URL.
            settings: how many downloads run at once, and how long one may take.
            policy: which images are accepted.
            worker: this worker's name, in events.
            process: takes on images that have been downloaded, in its own time.
            may_store: tells whether the object store is not known to be down; until then nothing is claimed.
        """
        self._database = database
        self._storage = storage
        self._fetcher = fetcher
        self._concurrent = settings.concurrent if settings.enabled else 0
        # A download, and then time to store the bytes and to wait for the database.
        self._hidden = timedelta(seconds=settings.timeout_s) + LEASE
        self._policy = policy
        self._worker = worker
        self._process = process
        self._may_store = may_store
        self._processing: set[asyncio.Future[None]] = set()

    async def run(self) -> None:
        """Download what is due until cancelled, then put back what runs; where imports are off, do nothing."""
        async with asyncio.TaskGroup() as loops:
            for _ in range(self._concurrent):
                loops.create_task(self._run_one_by_one())

    async def _run_one_by_one(self) -> None:
        while True:
            try:
                busy = self._may_store() and await self.run_next()
            except InfrastructureError as error:  # of the database: the rows are as they were
                log.warning("downloads_unreachable", code=error.code, error=str(error))
                busy = False
            if not busy:
                await asyncio.sleep(_POLL_S)

    async def run_next(self) -> bool:
        """Download what has been due for longest; False: nothing is."""
        async with self._database.begin() as session:
            buried = await imports.bury(session)
            claim = await imports.claim(session, self._hidden)
        log_moves(buried.values())
        if claim is None:
            return False
        named = structlog.contextvars.bound_contextvars(image_id=str(claim.id), attempt=claim.attempt)
        with correlation.bound(correlation.create()), named, tracing.span("download"):
            await self._attempt(claim)
        return True

    async def _attempt(self, claim: DownloadClaim) -> None:
        try:
            await self._download(claim)
        except OwnershipLost:
            self._end("ownership_lost")
        except asyncio.CancelledError:
            await asyncio.shield(self._put_back(claim, _AT_ONCE, refund=True, code="worker_stopped"))
            raise
        except Exception as error:  # noqa: BLE001 - `decide_retry` says what each means
            await asyncio.shield(self._settle(claim, error))
        else:
            self._end("stored")
            self._hand_on(claim.id)

    async def _download(self, claim: DownloadClaim) -> None:
        with closing(ReceivedFile.open("")) as file:
            await self._fetcher.fetch(claim.source_url, file, self._policy.max_file_bytes)
            header = await asyncio.to_thread(screen, file, self._policy)
            await self._storage.put(object_key(file.sha256), file.content, file.size, header.media_type)
        await self._keep(claim, Download(file.sha256, file.size, header))

    async def _keep(self, claim: DownloadClaim, download: Download) -> None:
        async with self._database.begin() as session:
            await tombstones.lock_bytes(session, download.sha256)
            # No image had these bytes while they were stored, so a purge may have removed them. From here on none can.
            if await self._storage.find(object_key(download.sha256)) is None:
                raise StorageUnavailable("the bytes were purged while they were stored")
            twin = await imports.find_twin(session, claim, download.sha256)
            if twin is not None:
                raise ImageRejected(f"image {twin} in the same folder has the same bytes", code="duplicate_image")
            kept = await imports.keep(session, claim, self._worker, download)
            if not kept:
                await imports.bury_remains(session, claim, download.sha256)
        if not kept:
            raise OwnershipLost(f"download of image {claim.id}, attempt {claim.attempt}")
        _move(claim, ImageStatus.PENDING).log()

    async def _settle(self, claim: DownloadClaim, error: Exception) -> None:
        """Write down what a failure means for the image."""
        code = error.code if isinstance(error, LikenessError) else LikenessError.default_code
        verdict = decide_retry(
            error,
            attempt=claim.attempt,
            tries_left=claim.tries_left,
            jitter=random.random(),  # noqa: S311
        )
        defect = None if isinstance(error, LikenessError) else error
        log.info("download_failed", code=code, error=str(error), final=isinstance(verdict, GiveUp), exc_info=defect)
        count_error("worker", error)
        if isinstance(verdict, GiveUp):
            code, message = verdict.code, verdict.message
            await self._write(
                "failed",
                lambda session: imports.fail(session, claim, self._worker, code, message),
                _move(claim, ImageStatus.ERROR, code),
            )
        else:
            RETRIES.labels(*labels_of(error)).inc()
            await self._put_back(claim, verdict.delay, refund=verdict.refund, code=code)

    async def _put_back(self, claim: DownloadClaim, delay: timedelta, *, refund: bool, code: str) -> None:
        await self._write(
            "postponed",
            lambda session: imports.postpone(session, claim, self._worker, delay, refund=refund, code=code),
        )

    async def _write(
        self, outcome: str, write: Callable[[AsyncSession], Awaitable[bool]], move: Move | None = None
    ) -> None:
        """Write an attempt's end; if that fails, it is claimed again when its time is over."""
        try:
            async with self._database.begin() as session:
                owned = await write(session)
        except InfrastructureError as error:
            log.warning("end_not_written", outcome=outcome, error=str(error))
            owned, outcome, move = True, "unwritten", None
        if owned and move is not None:
            move.log()
        self._end(outcome if owned else "ownership_lost")

    def _end(self, outcome: str) -> None:
        DOWNLOADS.labels(outcome).inc()
        log.info("download_ended", outcome=outcome)  # without the URL, which may hold secrets

    def _hand_on(self, image_id: UUID) -> None:
        """Have the image processed without waiting for it; should that be lost, the sweep finds it."""
        processing = asyncio.ensure_future(self._process([image_id]))
        self._processing.add(processing)
        processing.add_done_callback(self._processing.discard)


def _move(claim: DownloadClaim, after: ImageStatus, code: str | None = None) -> Move:
    return Move(claim.id, ImageStatus.CREATED, after, claim.attempt, code)
