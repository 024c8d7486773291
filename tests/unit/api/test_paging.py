"""Pages of a ranking that changes between them."""

from collections.abc import Callable
from uuid import UUID

import pytest

from api.paging import MAX_SEARCH_DEPTH, Seen, Window, next_page
from common.errors import InvalidInput
from common.vectors.base import Match

Change = Callable[[list[Match]], list[Match]]


def ranking(number: int) -> list[Match]:
    """Return matches 0, 1, 2 … in pairs of equal score."""
    return [Match(UUID(int=position), 0.9 - (position // 2) / 10_000) for position in range(number)]


def best_first(match: Match) -> tuple[float, UUID]:
    return -match.score, match.id


async def read(matches: list[Match], limit: int, change: Change = list) -> list[int]:
    """Read to the end; the ranking changes after every page. Return what was shown."""
    shown: list[int] = []
    seen: Seen | None = None
    while True:
        current = matches

        async def query(size: int, current: list[Match] = current) -> list[Match]:
            return sorted(current, key=best_first)[:size]

        window = Window(limit, seen)
        page = await next_page(query, window)
        assert len(page.matches) == limit or not page.more or len(shown) + len(page.matches) == MAX_SEARCH_DEPTH
        shown += [match.id.int for match in page.matches]
        if not page.more:
            return shown
        seen = window.seen_after(page, 1)
        assert seen == Seen(len(shown), page.matches[-1].score, page.matches[-1].id, 1)
        matches = change(matches)


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 50])
@pytest.mark.parametrize("limit", [1, 4, 60])
async def test_everything_is_shown_once(number: int, limit: int) -> None:
    assert await read(ranking(number), limit) == list(range(number))


async def test_what_comes_before_shifts_nothing() -> None:
    def arrive(matches: list[Match]) -> list[Match]:
        return [*matches, *(Match(UUID(int=len(matches) + 100 + number), 0.95) for number in range(9))]

    assert await read(ranking(20), 4, arrive) == list(range(20))


async def test_what_comes_after_is_shown_in_its_place() -> None:
    late = Match(UUID(int=1000), 0.0)
    assert await read(ranking(8), 4, lambda matches: [*matches, late] if late not in matches else matches) == [
        *range(8),
        1000,
    ]


async def test_deletions_leave_no_gap() -> None:
    """Also that of the very match a page ended with, among others of its score."""
    matches = ranking(21)
    assert await read(matches, 3, lambda left: left[3:]) == list(range(21))


async def test_past_the_depth_there_is_a_clear_end() -> None:
    with pytest.raises(InvalidInput) as refused:
        await read(ranking(MAX_SEARCH_DEPTH + 1), 300)
    assert refused.value.code == "search_too_deep"
    with pytest.raises(InvalidInput):
        await read(ranking(MAX_SEARCH_DEPTH), 200)
