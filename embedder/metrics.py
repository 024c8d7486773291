"""What Prometheus is told. One registry per service object, so that several can live in one process (tests)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from common.embedding import Priority
from embedder.model import Kind, Step

DropReason = Literal["deadline", "caller_gone"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class LaneName(NamedTuple):
    """Names a lane; the names of its parts are those of the labels."""

    model: str
    """The model's label, so there are as many series as models are served."""
    kind: Kind
    priority: Priority


class Metrics:
    """The service's counters and histograms."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "embedder_requests", "Answered requests", ["method", "route", "status"], registry=self._registry
        )
        self._request_seconds = Histogram(
            "embedder_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._batch_items = Histogram(
            "embedder_batch_items", "Items of a forward pass", LaneName._fields, buckets=_SIZES,
            registry=self._registry,
        )  # fmt: skip
        self._queue_seconds = Histogram(
            "embedder_queue_seconds", "Time an item waited for the model", LaneName._fields, buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._step_seconds = Histogram(
            "embedder_step_seconds", "Time of one step of a batch", ["model", "kind", "step"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._dropped = Counter(
            "embedder_dropped_items", "Items that never reached the model, as nobody waited for them any more",
            [*LaneName._fields, "reason"], registry=self._registry,
        )  # fmt: skip
        self._pending = Gauge(
            "embedder_pending_items", "Items waiting for the model", LaneName._fields, registry=self._registry
        )
        self._ready = Gauge("embedder_ready", "1 while requests are served, by all models", registry=self._registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request under its route's template."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def batch(self, lane: LaneName, waited_s: list[float]) -> None:
        """Note a batch, and how long each of its items has waited for it."""
        self._batch_items.labels(*lane).observe(len(waited_s))
        for seconds in waited_s:
            self._queue_seconds.labels(*lane).observe(seconds)

    def step(self, model: str, kind: Kind, step: Step, seconds: float) -> None:
        """Note how long a step of a batch took."""
        self._step_seconds.labels(model, kind, step).observe(seconds)

    def dropped(self, lane: LaneName, reason: DropReason, items: int) -> None:
        """Count items that were dropped, if any."""
        if items:
            self._dropped.labels(*lane, reason).inc(items)

    def watch_pending(self, lane: LaneName, count: Callable[[], float]) -> None:
        """Report `count()` as the items waiting."""
        self._pending.labels(*lane).set_function(count)

    def watch_ready(self, ready: Callable[[], bool]) -> None:
        """Report whether requests are served by all models."""
        self._ready.set_function(ready)

    def expose(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self._registry)
