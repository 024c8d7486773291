"""What the api counts of requests and searches."""

from prometheus_client import Counter

from common.metrics import HttpMetrics

HTTP = HttpMetrics()
CACHE_LOOKUPS = Counter(
    "likeness_cache_lookups",
    "Lookups by cache (text, picture, candidates), level (process, redis) and outcome (hit, miss, unavailable).",
    ["cache", "level", "outcome"],
)
SEARCHES_LOGGED = Counter(
    "likeness_searches_logged", "Entries for the search log: written, dropped by a full queue, or lost.", ["outcome"]
)
