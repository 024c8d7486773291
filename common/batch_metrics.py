"""What is told of a batcher, by its name."""

from prometheus_client import Gauge, Histogram

from common.metrics import SHORT_SECONDS, SIZES

SIZE = Histogram("likeness_batch_size", "Items of a batch.", ["batcher"], buckets=SIZES)
WAIT = Histogram(
    "likeness_batch_wait_seconds",
    "Time the first item of a batch waited until it began.",
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

    def began(self, items: int, waited_s: float) -> None:
        """Note a batch, and how long the first of its items has waited; all of them would cost more than they tell."""
        self._size.observe(items)
        self._wait.observe(waited_s)
