"""What the api counts of requests and searches."""

from prometheus_client import Counter

from common.cache_metrics import CACHE_LOOKUPS
from common.metrics import HttpMetrics, begin_at_zero

HTTP = HttpMetrics()
SEARCHES_LOGGED = Counter(
    "likeness_searches_logged", "Entries for the search log: written, dropped by a full queue, or lost.", ["outcome"]
)
begin_at_zero(SEARCHES_LOGGED, ["written", "dropped", "lost"])
begin_at_zero(CACHE_LOOKUPS, ["text", "picture", "candidates"], ["process"], ["hit", "miss"])
begin_at_zero(CACHE_LOOKUPS, ["text", "picture"], ["redis"], ["hit", "miss", "unavailable"])
