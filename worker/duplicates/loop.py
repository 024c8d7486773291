"""The loop that looks for duplicates, beside the pipeline. While images keep coming they go first, within reason.

What this worker's pipeline has finished is in a queue here. What was in the queue of a worker that died, or was to be
compared before there were duplicates, or is to be again, is found in the rows, see `common.db.criteria`. Comparing an
image twice is the same as once.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import inf
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import select

from common.db import criteria, embedding_models, fingerprints, likenesses
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.duplicates import DuplicateThresholds
from common.errors import InfrastructureError
from common.status import ImageStatus
from worker.duplicates.rehash import Rehash
from worker.duplicates.search import CANDIDATES, DuplicateSearch
from worker.metrics import COMPARED

log = structlog.get_logger(__name__)

PATIENCE_S = 60.0
"""How long an image may be in some worker's queue before the others take it for forgotten."""

_BATCH = 64
_QUIET_S = 2.0
"""After so long without a new image (or after the interval, if that is shorter), there is time to compare."""
_MANY = 1_000
"""From so many on, what waits is compared whether or not more keep coming."""
_MAX_QUEUED = 10_000
_SPREAD = 1_000
"""Workers that find much to do begin so far apart from each other, at most."""


class Duplicates:
    """Compares each image with its owner's others, once after it is `done` and again when the criteria change."""

    def __init__(
        self,
        database: Database,
        search: DuplicateSearch,
        rehash: Rehash,
        thresholds: DuplicateThresholds,
        *,
        interval_s: float,
    ) -> None:
        """Create the loop of one worker.

        Args:
            database: where the images are.
            search: finds what they look like.
            rehash: makes the hash of what has none.
            thresholds: by which pairs are judged.
            interval_s: how often to look for what is due and in no queue here.
        """
        self._database = database
        self._search = search
        self._rehash = rehash
        self._thresholds = thresholds
        self._interval_s = interval_s
        self._queue: deque[UUID] = deque(maxlen=_MAX_QUEUED)
        self._arrived = asyncio.Event()
        self._criteria: tuple[int, int] | None = None
        self._quiet_s = min(_QUIET_S, interval_s)
        self._last_arrival = -inf

    def add(self, image_id: UUID) -> None:
        """Have an image that is `done` compared soon; should that be lost, its row tells."""
        self._queue.append(image_id)
        self._last_arrival = monotonic()
        self._arrived.set()

    async def run(self) -> None:
        """Compare what is due until cancelled."""
        while True:
            await self._give_way()
            try:
                busy = await self.compare_due()
            except InfrastructureError as error:  # the rows are as they were
                log.warning("duplicates_postponed", code=error.code, error=str(error))
                await asyncio.sleep(self._interval_s)
            except Exception:  # a defect here is no reason to index no images
                log.exception("duplicates_failed")
                await asyncio.sleep(self._interval_s)
            else:
                if not busy:
                    await self._rest()

    async def _give_way(self) -> None:
        """Wait while images keep coming, but not for longer than others take those that wait here for forgotten."""
        begun = monotonic()
        while len(self._queue) < _MANY and monotonic() < begun + PATIENCE_S / 2:
            left_s = self._last_arrival + self._quiet_s - monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    async def compare_due(self, *, patience_s: float = PATIENCE_S) -> bool:
        """Compare a batch of what is due, and tidy up after what was deleted; False: there was nothing to do."""
        async with self._database.begin() as session:
            model = await embedding_models.find_active(session)
        if model is None:
            return False
        due = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
        if len(due) < _BATCH:
            due += await self._find_due(model, patience_s)
        if due:
            await self.compare(model, due)
        tidied = len(due) < _BATCH and await self._tidy()
        return bool(due) or tidied

    async def compare(self, model: EmbeddingModel, ids: Iterable[UUID]) -> None:
        """Compare those of the images that are due.

        Raises:
            InfrastructureError: a store can't be asked; what has not been written down stays due.
        """
        number = await self._settle_criteria(model)
        async with self._database.begin() as session:
            query = select(Image).where(
                Image.id.in_(list(ids)), Image.status == ImageStatus.DONE, Image.compared_by < number
            )
            rows = list(await session.scalars(query.order_by(Image.owner_id, Image.id)))
        for owner_id, group in groupby(rows, key=lambda image: image.owner_id):
            await self._compare(owner_id, list(group), model, number)

    async def _compare(self, owner_id: UUID, images: Sequence[Image], model: EmbeddingModel, number: int) -> None:
        await self._hash_missing(images)
        pairs = await self._search.find_pairs(owner_id, images, model, self._thresholds)
        async with self._database.begin() as session:
            compared = await likenesses.record(session, owner_id, [image.id for image in images], pairs, number)
        COMPARED.inc(compared)

    async def _hash_missing(self, images: Sequence[Image]) -> None:
        by_hash = {image.sha256: image for image in images}
        async with self._database.begin() as session:
            known = await fingerprints.find(session, list(by_hash))
        made = await self._rehash.make([image for sha256, image in by_hash.items() if sha256 not in known])
        if made:
            async with self._database.begin() as session:
                await fingerprints.save(session, made)

    async def _settle_criteria(self, model: EmbeddingModel) -> int:
        """Return the number of this worker's criteria; asked for anew only when the model is another one."""
        if self._criteria is None or self._criteria[0] != model.id:
            async with self._database.begin() as session:
                self._criteria = model.id, await criteria.settle(session, model.id, self._thresholds)
        return self._criteria[1]

    async def _find_due(self, model: EmbeddingModel, patience_s: float) -> list[UUID]:
        number = await self._settle_criteria(model)
        async with self._database.begin() as session:
            for skip in (random.randrange(_SPREAD), 0):  # noqa: S311
                due = await criteria.find_due(session, number, patience_s=patience_s, skip=skip, limit=_BATCH)
                if due:
                    break
        return due

    async def _tidy(self) -> bool:
        """Remove contents that went with their last image; True: there were some."""
        async with self._database.begin() as session:
            gone = await likenesses.find_gone(session, limit=_BATCH)
        for owner_id in set(gone.values()):
            ids = [id_ for id_, owner in gone.items() if owner == owner_id]
            async with self._database.begin() as session:
                await likenesses.remove_gone(session, owner_id, ids, many=CANDIDATES)
        return bool(gone)

    async def _rest(self) -> None:
        """Wait for the next image, for as long as the interval."""
        try:
            async with asyncio.timeout(self._interval_s):
                await self._arrived.wait()
        except TimeoutError:
            return
        self._arrived.clear()
