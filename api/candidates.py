"""What the vector index finds, kept for a few seconds where `CACHE__CANDIDATES_S` says so.

Ids and scores alone: the rows come fresh from PostgreSQL, so that what was deleted is not shown. Kept in this process:
an answer is worth a few milliseconds for a few seconds, and Redis would take a good part of the one for the other.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from api.lru import Lru
from api.settings import CacheSettings
from common.cache_metrics import CACHE_LOOKUPS
from common.vectors.base import Collection, Filter, Match, VectorIndex


class _Question(NamedTuple):
    """All that an answer depends on but the index itself."""

    collection: Collection
    vector: bytes
    filter: Filter
    limit: int
    min_score: float | None
    exclude: frozenset[UUID]


class Candidates:
    """Asks the vector index, unless it has been asked the same within the last `CACHE__CANDIDATES_S` seconds."""

    def __init__(self, vectors: VectorIndex, settings: CacheSettings) -> None:
        self._vectors = vectors
        self._recent: Lru[_Question, list[Match]] = Lru(settings.candidates, ttl_s=settings.candidates_s)

    async def query(
        self,
        collection: Collection,
        vector: NDArray[np.float32],
        *,
        filter: Filter,  # noqa: A002
        limit: int,
        min_score: float | None = None,
        exclude: Sequence[UUID] = (),
    ) -> list[Match]:
        """See `VectorIndex.query`; the answer may be a few seconds old."""
        question = _Question(collection, vector.tobytes(), filter, limit, min_score, frozenset(exclude))
        kept = self._recent.find(question)
        CACHE_LOOKUPS.labels("candidates", "process", "miss" if kept is None else "hit").inc()
        if kept is not None:
            return kept
        found = await self._vectors.query(
            collection, vector, filter=filter, limit=limit, min_score=min_score, exclude=exclude
        )
        self._recent.keep(question, found)
        return found
