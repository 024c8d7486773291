"""Pages of search results that stay put while images come and go."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

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


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the ranking is wanted."""

    limit: int
    seen: Seen | None = None
    min_score: float | None = None

    @property
    def model_id(self) -> int | None:
        """The model that ranked what was shown; None: nothing was."""
        return self.seen.model_id if self.seen else None


async def next_page(query: Query, window: Window) -> tuple[list[Match], bool]:
    """Return what comes after the last match that was shown, and whether there is more.

    Images that are indexed or deleted meanwhile shift no page: the next begins after that match, wherever it is now.
    """
    size = window.limit + 1 + (window.seen.count if window.seen else 0)
    while True:
        size = min(size, MAX_SEARCH_DEPTH)
        ranking = await query(size)
        rest = _after(window.seen, ranking)
        if len(rest) > window.limit or len(ranking) < size:
            return rest[: window.limit], len(rest) > window.limit
        if size == MAX_SEARCH_DEPTH:
            if not rest:
                raise InvalidInput(
                    f"results are ranked {MAX_SEARCH_DEPTH} deep: ask for something narrower", code="search_too_deep"
                )
            return rest, True
        size *= 2


def _after(seen: Seen | None, ranking: list[Match]) -> list[Match]:
    if seen is None:
        return ranking
    for position, match in enumerate(ranking):
        if match.id == seen.id:
            return ranking[position + 1 :]
    return [match for match in ranking if (-match.score, match.id) > (-seen.score, seen.id)]
