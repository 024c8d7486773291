"""What is told of caches of vectors, by whoever looks into them."""

from prometheus_client import Counter

CACHE_LOOKUPS = Counter(
    "likeness_cache_lookups",
    "Lookups by cache (text, picture, candidates, image), level (process, redis, postgresql) and outcome (hit, miss, "
    "unavailable).",
    ["cache", "level", "outcome"],
)
