"""Pages of a ranking in which equal scores are ordered by id.

The same picture in two folders has the same vector, so equal scores are common. Qdrant returns equals in any order,
another one for each limit, so that its own pages would show some of them twice and others never.
"""

from collections.abc import Awaitable, Callable

from common.vectors.base import MAX_WINDOW, Match

Search = Callable[[int], Awaitable[list[Match]]]
"""Returns so many of the best matches; which of equals, and in which order, is up to it."""

MAX_SEARCH = 2 * MAX_WINDOW
"""Most matches a search is asked for: more equals than this leaves room for have no certain order."""

_SPARE = 8


async def page(search: Search, *, limit: int, offset: int) -> list[Match]:
    """Return matches `offset` to `offset + limit`, best first, equal scores by id.

    Sorting settles the order of everything better than the last match found. So the search reaches a few matches
    beyond the page, and once more, further, should the page end among equals of the last one.
    """
    end = offset + limit
    size = end + _SPARE
    while True:
        found = await search(size)
        found.sort(key=lambda match: (-match.score, match.id))
        if len(found) < size or found[end - 1].score > found[-1].score or size >= MAX_SEARCH:
            return found[offset:end]
        size = min(4 * size, MAX_SEARCH)
