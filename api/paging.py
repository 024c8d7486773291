"""Pages of search results that stay put while images come and go."""

from collections.abc import Awaitable, Callable
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
    """How far a reader of search results is: how many were shown, which was the last, and which model ranked them."""

    count: int
    score: float
    id: UUID
    model_id: int
    """The model that ranked what was shown."""
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

    def seen_after(self, page: "Page", model_id: int) -> Seen:
        """Return how far a reader is after a page, which has matches."""
        shown = self.seen.count if self.seen else 0
        last = page.matches[-1]
        return Seen(shown + len(page.matches), last.score, last.id, model_id, page.as_of)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the ranking, and whether there is more after it."""

    matches: list[Match]
    more: bool
    as_of: datetime | None = None
    """The moment of the first page, in an order that depends on it."""


async def next_page(query: Query, window: Window) -> Page:
    """Return what comes after the last match that was shown.

    Images that are indexed or deleted meanwhile shift no page: the next begins after that match, wherever it is now.

    Raises:
        InvalidInput: `search_too_deep`.
    """
    size = window.limit + 1 + (window.seen.count if window.seen else 0)
    while True:
        size = min(size, MAX_SEARCH_DEPTH)
        ranking = await query(size)
        rest = _after(window.seen, ranking)
        if len(rest) > window.limit or len(ranking) < size:
            return Page(rest[: window.limit], more=len(rest) > window.limit)
        if size == MAX_SEARCH_DEPTH:
            if not rest:
                raise too_deep()
            return Page(rest, more=True)
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
