"""What Prometheus is told. One registry per service object, so that several can live in one process (tests)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from common.embedding import ModelInfo, Priority
from common.exposition import expose
from common.metrics import SHORT_SECONDS, SIZES, HttpMetrics
from embedder.model import Kind, Step

DropReason = Literal["deadline", "caller_gone"]


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
        self.http = HttpMetrics(self._registry)
        self._batch_items = Histogram(
            "likeness_embedder_batch_items", "Items of a forward pass.", LaneName._fields, buckets=SIZES,
            registry=self._registry,
        )  # fmt: skip
        self._queue_seconds = Histogram(
            "likeness_embedder_queue_seconds", "Time an item waited for the model.", LaneName._fields,
            buckets=SHORT_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._step_seconds = Histogram(
            "likeness_embedder_step_seconds", "Time of one step of a batch: preprocess, forward, postprocess.",
            ["model", "kind", "step"], buckets=SHORT_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._decode_seconds = Histogram(
            "likeness_embedder_decode_seconds", "Time to decode and resize an image, its wait for a thread included.",
            buckets=SHORT_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._dropped = Counter(
            "likeness_embedder_dropped_items", "Items that never reached the model: nobody waited for them any more.",
            [*LaneName._fields, "reason"], registry=self._registry,
        )  # fmt: skip
        self._models = Gauge(
            "likeness_embedder_model_info", "1, for each model that is served.",
            ["model", "dim", "device", "precision"], registry=self._registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._ready = Gauge(
            "likeness_embedder_ready", "1 while requests are served, by all models.", registry=self._registry,
            multiprocess_mode="livemin",
        )  # fmt: skip
        self._is_ready: Callable[[], bool] = lambda: False

    def batch(self, lane: LaneName, waited_s: list[float]) -> None:
        """Note a batch, and how long each of its items has waited for it."""
        self._batch_items.labels(*lane).observe(len(waited_s))
        for seconds in waited_s:
            self._queue_seconds.labels(*lane).observe(seconds)

    def step(self, model: str, kind: Kind, step: Step, seconds: float) -> None:
        """Note how long a step of a batch took."""
        self._step_seconds.labels(model, kind, step).observe(seconds)

    def decoded(self, seconds: float) -> None:
        """Note how long an image took to be decoded."""
        self._decode_seconds.observe(seconds)

    def dropped(self, lane: LaneName, reason: DropReason, items: int) -> None:
        """Count items that were dropped, if any."""
        if items:
            self._dropped.labels(*lane, reason).inc(items)

    def served(self, model: ModelInfo) -> None:
        """Note that a model is served."""
        self._models.labels(model.label, model.dim, model.device, model.precision).set(1)

    def watch_ready(self, ready: Callable[[], bool]) -> None:
        """Report whether requests are served by all models."""
        self._is_ready = ready

    def expose(self) -> bytes:
        """Write everything in Prometheus' text format."""
        self._ready.set(self._is_ready())
        return expose(self._registry, REGISTRY)
