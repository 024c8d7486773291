"""Pages of search results that stay put while images come and go."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.ranking import BY_LIKENESS, Ranking
from common.errors import InvalidInput
from common.vectors.base import MAX_MATCHES, Match

MAX_SEARCH_DEPTH = MAX_MATCHES
"""How deep search results can be paged: the vector index ranks everything before a page anew."""


Query = Callable[[int], Awaitable[list[Match]]]
"""Ranks everything that is wanted, and returns so many of the best, equal scores in the order of their ids."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a reader of search results is: how many were shown, and which was the last."""

    count: int
    score: float
    id: UUID
    as_of: datetime | None = None
    """The moment of the first page, in an order that depends on it."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the ranking is wanted."""

    limit: int
    seen: Seen | None = None
    min_score: float | None = None
    ranking: Ranking = BY_LIKENESS
    good_only: bool = False
    """Leave out what is no good match, by the model's thresholds."""

    def seen_after(self, page: Sequence[Match], as_of: datetime | None = None) -> Seen:
        """Return how far a reader is after this page."""
        shown = self.seen.count if self.seen else 0
        return Seen(shown + len(page), page[-1].score, page[-1].id, as_of)


async def next_page(query: Query, window: Window) -> tuple[list[Match], Seen | None]:
    """Return what comes after the last match that was shown, and how far that is (None: there is no more).

    Images that are indexed or deleted meanwhile shift no page: the next begins after that match, wherever it is now.
    """
    page, more = await _next_matches(query, window)
    return page, window.seen_after(page) if more else None


async def _next_matches(query: Query, window: Window) -> tuple[list[Match], bool]:
    size = window.limit + 1 + (window.seen.count if window.seen else 0)
    while True:
        size = min(size, MAX_SEARCH_DEPTH)
        ranking = await query(size)
        rest = _after(window.seen, ranking)
        if len(rest) > window.limit or len(ranking) < size:
            return rest[: window.limit], len(rest) > window.limit
        if size == MAX_SEARCH_DEPTH:
            if not rest:
                raise too_deep()
            return rest, True
        size *= 2


def too_deep() -> InvalidInput:
    """Return the error for who wants to read on where nothing is ranked any more."""
    detail = f"results are ranked {MAX_SEARCH_DEPTH} deep: ask for something narrower"
    return InvalidInput(detail, code="search_too_deep")


def _after(seen: Seen | None, ranking: list[Match]) -> list[Match]:
    if seen is None:
        return ranking
    for position, match in enumerate(ranking):
        if match.id == seen.id:
            return ranking[position + 1 :]
    return [match for match in ranking if (-match.score, match.id) > (-seen.score, seen.id)]
