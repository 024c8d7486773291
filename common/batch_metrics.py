"""What is told of a batcher, by its name."""

from collections.abc import Sequence

from prometheus_client import Gauge, Histogram

from common.metrics import SHORT_SECONDS, SIZES

SIZE = Histogram("likeness_batch_size", "Items of a batch.", ["batcher"], buckets=SIZES)
WAIT = Histogram(
    "likeness_batch_wait_seconds",
    "Time an item waited until its batch began.",
    ["batcher"],
    buckets=SHORT_SECONDS,
)
PENDING = Gauge(
    "likeness_batch_pending_items",
    "Items that wait for their batch to begin.",
    ["batcher"],
    multiprocess_mode="livesum",
)


class BatchMeter:
    """Measures one batcher; those of the same name are measured together."""

    def __init__(self, name: str) -> None:
        self._size = SIZE.labels(name)
        self._wait = WAIT.labels(name)
        self._pending = PENDING.labels(name)

    def arrived(self) -> None:
        """Note an item that waits."""
        self._pending.inc()

    def left(self, items: int) -> None:
        """Note items that wait no more, whether or not somebody wants them still."""
        self._pending.dec(items)

    def began(self, waited_s: Sequence[float]) -> None:
        """Note a batch by how long each of its items has waited."""
        self._size.observe(len(waited_s))
        for seconds in waited_s:
            self._wait.observe(seconds)
