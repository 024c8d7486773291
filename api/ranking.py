"""Orders of search results other than by likeness alone: diverse, recent first, one of each group of duplicates. Pure.

What is ordered are the images most like the query, as many as searches go deep. All orders are the same for the same
candidates and the same moment, so that pages can be cut from them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranking:
    """How results are to be ordered; the default is by likeness."""

    diversity: float = 0.0
    """0 to 1: how much it counts against an image that it looks like those before it."""
    recency: float = 0.0
    """0 to 1: how much it counts for an image that it is new."""
    half_life: timedelta = timedelta(days=30)
    """The age at which an image counts half as new."""
    one_per_group: bool = False
    """Of images that are duplicates of each other, show the one that comes first."""

    @property
    def plain(self) -> bool:
        """Whether it is by likeness alone."""
        return not (self.diversity or self.recency or self.one_per_group)


BY_LIKENESS: Final = Ranking()


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An image that may be a result."""

    id: UUID
    score: float
    """Cosine similarity to the query."""
    created_at: datetime
    vector: Vector
    """float32 of shape `(dim,)`, normalised; only diversity looks at it."""
    group: UUID | None = None
    """The group of duplicates that it belongs to, if any."""


def order(candidates: Sequence[Candidate], ranking: Ranking, as_of: datetime, limit: int) -> list[Candidate]:
    """Return the first `limit` candidates in the order that is asked for; equals are ordered by id.

    Args:
        candidates: in any order.
        ranking: the order.
        as_of: the moment from which ages count.
        limit: how many are wanted.
    """
    merit = {each.id: _merit(each, ranking, as_of) for each in candidates}
    ordered = sorted(candidates, key=lambda each: (-merit[each.id], each.id))
    if ranking.one_per_group:
        ordered = list(_firsts(ordered))
    if ranking.diversity:
        ordered = _diverse(ordered, [merit[each.id] for each in ordered], ranking.diversity, limit)
    return ordered[:limit]


def _merit(candidate: Candidate, ranking: Ranking, as_of: datetime) -> float:
    """Blend likeness with newness, which is 1 for an image of this moment and halves with each half-life."""
    age = max(as_of - candidate.created_at, timedelta(0))
    newness: float = 0.5 ** (age / ranking.half_life)
    return (1 - ranking.recency) * candidate.score + ranking.recency * newness


def _firsts(ordered: Sequence[Candidate]) -> Iterator[Candidate]:
    shown: set[UUID] = set()
    for each in ordered:
        if each.group not in shown:
            yield each
        if each.group is not None:
            shown.add(each.group)


def _diverse(ordered: Sequence[Candidate], merit: Sequence[float], diversity: float, limit: int) -> list[Candidate]:
    """Order by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Always the next is the one whose merit, less its likeness to the most alike of those chosen, is highest. A product
    of a matrix and a vector for each choice; of equals the one that came before comes first.
    """
    if not ordered:
        return []
    vectors = np.stack([each.vector for each in ordered])
    gain = (1 - diversity) * np.asarray(merit)
    nearest = np.full(len(ordered), -np.inf)
    chosen: list[int] = []
    best = int(np.argmax(gain))  # nothing to be unlike yet
    while len(chosen) < min(limit, len(ordered)):
        chosen.append(best)
        gain[best] = -np.inf
        nearest = np.maximum(nearest, vectors @ vectors[best])
        best = int(np.argmax(gain - diversity * nearest))
    return [ordered[position] for position in chosen]
