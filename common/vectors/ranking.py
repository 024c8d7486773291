"""A ranking in which equal scores are ordered by id.

The same picture in two folders has the same vector, so equal scores are common. Qdrant returns equals in any order,
another one for each limit, so that pages cut from its answers would show some of them twice and others never.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from uuid import UUID

from common.vectors.base import MAX_MATCHES, Facet, Match

Search = Callable[[int], Awaitable[list[Match]]]
"""Returns so many of the best matches; which of equals, and in which order, is up to it."""

MAX_SEARCH = 2 * MAX_MATCHES
"""Most matches a search is asked for: more equals than this leaves room for have no certain order."""

_SPARE = 8


async def settle_order(search: Search, limit: int, exclude: Collection[UUID] = ()) -> list[Match]:
    """Return the best matches but those to `exclude`, equal scores by id.

    These are left out here: in a search each condition is put to every point, for what so few may be.

    Sorting settles the order of everything better than the last match found. So the search reaches a few matches
    beyond the limit, and once more, further, should the limit be among equals of the last one.
    """
    left_out = frozenset(exclude)
    size = min(limit + len(left_out) + _SPARE, MAX_SEARCH)
    while True:
        found = sorted(await search(size), key=lambda match: (-match.score, match.id))
        wanted = [match for match in found if match.id not in left_out] if left_out else found
        if len(found) < size or size >= MAX_SEARCH or wanted[limit - 1].score > found[-1].score:
            return wanted[:limit]
        size = min(4 * size, MAX_SEARCH)


def order_facets(facets: Iterable[Facet]) -> list[Facet]:
    """Return facets with the most frequent first, equal counts by value."""
    return sorted(facets, key=lambda facet: (-facet.count, facet.value))
