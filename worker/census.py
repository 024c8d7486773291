"""Tells Prometheus how many images are in which state: one worker of all, so that sums are right and one alone asks.

Which one is decided by a lock in PostgreSQL that belongs to a connection. Whoever holds it asks every few seconds and
has the metrics; when it ends or loses its connection, the lock is free, and another worker takes over.
"""

import asyncio
from collections.abc import Mapping
from math import nan

import structlog
from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import census
from common.db.census import Census
from common.db.engine import Database
from common.errors import InfrastructureError
from common.exposition import is_shared

IMAGES = Gauge(
    "likeness_images",
    "Images by state; told by one of the workers.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
BACKLOG_AGE = Gauge(
    "likeness_backlog_age_seconds",
    "For how long the image has been due that waits for longest, to be claimed (pending) or downloaded (created); "
    "told by one of the workers.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
EXPIRED_LEASES = Gauge(
    "likeness_expired_leases",
    "Images whose worker has died or hangs; told by one of the workers.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
MODEL_INFO = Gauge(
    "likeness_model_info",
    "1, for each model that is live: active or building; told by one of the workers.",
    ["model", "state", "dim"],
    multiprocess_mode="livemostrecent",
)

log = structlog.get_logger(__name__)

_Series = tuple[Gauge, tuple[str, ...]]


class CensusTaker:
    """Takes the census every `interval_s` seconds while no other worker does."""

    def __init__(self, database: Database, *, interval_s: float) -> None:
        """Create it; it keeps a connection of the database for itself, which should not be the pipeline's pool."""
        self._database = database
        self._interval_s = interval_s
        self._shown: set[_Series] = set()

    async def run(self) -> None:
        """Go on until cancelled; then another worker takes over."""
        while True:
            try:
                async with self._database.read() as session:
                    await self._tell_if_alone(session)
            except InfrastructureError as error:
                log.warning("census_not_taken", code=error.code, error=str(error))
            except Exception:  # a defect here is no reason to index no images
                log.exception("census_failed")
            await asyncio.sleep(self._interval_s)

    @property
    def telling(self) -> bool:
        """Whether the metrics are this one's."""
        return bool(self._shown)

    async def _tell_if_alone(self, session: AsyncSession) -> None:
        if not await census.take_place(session):
            return
        try:
            while True:
                self._show(_series(await census.take(session)))
                await asyncio.sleep(self._interval_s)
        finally:
            self._show({})
            await session.invalidate()  # in the pool, the connection would keep the lock

    def _show(self, series: Mapping[_Series, float]) -> None:
        """Have exactly these series in the metrics."""
        for gauge, labels in self._shown - series.keys():
            if is_shared():  # what is in a file can't be removed
                gauge.labels(*labels).set(nan)
            else:
                gauge.remove(*labels)
        for (gauge, labels), value in series.items():
            gauge.labels(*labels).set(value)
        self._shown = set(series)


def _series(taken: Census) -> dict[_Series, float]:
    return {
        **{(IMAGES, (str(state),)): float(number) for state, number in taken.images.items()},
        **{(BACKLOG_AGE, (str(state),)): seconds for state, seconds in taken.due_s.items()},
        **{(EXPIRED_LEASES, (str(state),)): float(number) for state, number in taken.expired.items()},
        **{(MODEL_INFO, (label, state, str(dim))): 1.0 for label, state, dim in taken.models},
    }
