"""What all services tell Prometheus alike; each keeps its other metrics beside what they measure.

Names begin with `likeness_` and end in their unit. Labels have few values that are known beforehand: what comes from
outside is cut down to such a set here. `docs/metrics.md` has every metric; tests hold it against the services.
"""

from collections.abc import Iterable
from itertools import product
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Buckets of what takes from milliseconds to a minute."""
SHORT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Buckets of what should take milliseconds."""
LONG_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
"""Buckets of what a backlog draws out."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Buckets of how many items a batch has."""

UNMATCHED: Final = "unmatched"
"""The route of a request that no route has answered: unknown paths, and the page's files."""
OTHER: Final = "other"
"""Stands for a value that is none of the known ones."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

BUILD_INFO = Gauge(
    "likeness_build_info", "1, for the release that runs.", ["version", "python"], multiprocess_mode="max"
)


def begin_at_zero(counter: Counter, *values: Iterable[str]) -> None:
    """Tell a counter from the start, for all combinations of these values of its labels.

    One that appears with its first event shows no increase at that moment, and no alert that waits for one goes off.
    """
    for labels in product(*values):
        counter.labels(*labels)


class HttpMetrics:
    """Counts and times the answers of one app."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        labels = ["method", "route", "status"]
        self._requests = Counter("likeness_http_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "likeness_http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            labels,
            buckets=SECONDS,
            registry=registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request under the template of its route: by its path, every id would make a series of its own."""
        labels = (method if method in METHODS else OTHER, route, str(status))
        self._requests.labels(*labels).inc()
        self._seconds.labels(*labels).observe(seconds)
