"""HTTP metrics that all services share; each service keeps its own others beside what they measure."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("http_requests", "Requests answered.", ["method", "route", "status"])
LATENCY = Histogram(
    "http_request_duration_seconds",
    "Time from a request's arrival to the end of its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
