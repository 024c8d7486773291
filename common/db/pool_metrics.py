"""How much of a pool of database connections is in use, and how long it takes to get one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from prometheus_client import Gauge, Histogram

from common.metrics import SHORT_SECONDS

SIZE = Gauge(
    "likeness_database_pool_size",
    "Database connections that the pool may open.",
    ["pool"],
    multiprocess_mode="livesum",
)
IN_USE = Gauge("likeness_database_pool_in_use", "Database connections in use.", ["pool"], multiprocess_mode="livesum")
WAITING = Gauge(
    "likeness_database_pool_waiting",
    "Transactions that wait for a database connection.",
    ["pool"],
    multiprocess_mode="livesum",
)
WAIT = Histogram(
    "likeness_database_pool_wait_seconds",
    "Time it took a transaction to get a connection that works.",
    ["pool"],
    buckets=SHORT_SECONDS,
)


class PoolMeter:
    """Measures one pool; those of the same name in one process are measured together."""

    def __init__(self, name: str, size: int) -> None:
        self._capacity = SIZE.labels(name)
        self._capacity.inc(size)
        self._size = size
        self._in_use = IN_USE.labels(name)
        self._waiting = WAITING.labels(name)
        self._wait = WAIT.labels(name)

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Get a connection inside."""
        with self._waiting.track_inprogress(), self._wait.time():
            yield

    def holding(self) -> AbstractContextManager[None]:
        """Have a connection while inside."""
        return self._in_use.track_inprogress()

    def closed(self) -> None:
        """Note that the pool is no more."""
        self._capacity.dec(self._size)
        self._size = 0
