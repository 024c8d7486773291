"""A walk meets everything once, a sample as much as it says, whatever the pages, the start and the end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audit import walk as module
from worker.audit.walk import walk

NUMBERS = st.lists(st.integers(0, 60), unique=True).map(sorted)


class Numbers:
    """Numbers in order, read in pages."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers
        self.largest = 0

    async def read(self, after: int | None, limit: int) -> list[int]:
        self.largest = max(self.largest, limit)
        return [number for number in self._numbers if after is None or number > after][:limit]

    async def walked(self, start: int | None = None, limit: int | None = None) -> list[int]:
        pages = [page async for page in walk(self.read, lambda number: number, start=start, limit=limit)]
        assert all(pages), "no page is empty"
        return [number for page in pages for number in page]


@settings(derandomize=True)
@given(numbers=NUMBERS, page=st.integers(1, 7))
async def test_a_walk_without_a_limit_meets_everything_in_order(numbers: list[int], page: int) -> None:
    source, before = Numbers(numbers), module.PAGE
    module.PAGE = page
    try:
        assert await source.walked() == numbers
    finally:
        module.PAGE = before
    assert source.largest <= page


@settings(derandomize=True)
@given(numbers=NUMBERS, start=st.integers(-5, 65), limit=st.integers(1, 80), page=st.integers(1, 7))
async def test_a_sample_is_the_next_ones_round_past_the_end(
    numbers: list[int], start: int, limit: int, page: int
) -> None:
    source, before = Numbers(numbers), module.PAGE
    module.PAGE = page
    try:
        found = await source.walked(start, limit)
    finally:
        module.PAGE = before
    after = [number for number in numbers if number > start] + [number for number in numbers if number <= start]
    assert found == after[:limit]
    assert source.largest <= page


async def test_nothing_is_read_once_the_limit_is_reached() -> None:
    source = Numbers(list(range(10)))
    assert await source.walked(3, 2) == [4, 5]
    assert source.largest == 2
