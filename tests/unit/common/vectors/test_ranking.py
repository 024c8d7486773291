"""A ranking with equal scores, over a search as careless with them as Qdrant's."""

from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.vectors.base import MAX_MATCHES, Match
from common.vectors.ranking import MAX_SEARCH, settle_order


class CarelessSearch:
    """Returns the best matches, but any of those that are equal, in any order."""

    def __init__(self, scores: list[float], seed: int = 0) -> None:
        self.matches = [Match(UUID(int=number), score) for number, score in enumerate(scores)]
        self.asked: list[int] = []
        self._random = np.random.default_rng(seed)

    async def __call__(self, size: int) -> list[Match]:
        self.asked.append(size)
        ranked = sorted(self.matches, key=lambda match: (-match.score, self._random.random()))
        return ranked[:size]

    @property
    def ranking(self) -> list[Match]:
        return sorted(self.matches, key=lambda match: (-match.score, match.id))


@given(
    scores=st.lists(st.sampled_from([0.1, 0.2, 0.3]) | st.floats(-1, 1), max_size=150),
    limit=st.integers(1, 60),
    seed=st.integers(0, 1000),
    excluded=st.sets(st.integers(0, 160), max_size=40),
)
async def test_every_answer_is_the_beginning_of_the_same_ranking(
    scores: list[float], limit: int, seed: int, excluded: set[int]
) -> None:
    search = CarelessSearch(scores, seed)
    expected = [match for match in search.ranking if match.id.int not in excluded]
    assert await settle_order(search, limit, [UUID(int=number) for number in excluded]) == expected[:limit]


async def test_scores_that_differ_take_one_search() -> None:
    search = CarelessSearch([number / 500 for number in range(500)])
    assert await settle_order(search, 60) == search.ranking[:60]
    assert len(search.asked) == 1


async def test_a_crowd_of_equals_is_searched_to_its_end() -> None:
    search = CarelessSearch([0.5] * (MAX_SEARCH - 1))
    assert await settle_order(search, MAX_MATCHES) == search.ranking[:MAX_MATCHES]
    assert max(search.asked) <= MAX_SEARCH


async def test_more_equals_than_can_be_searched_still_fill_the_answer() -> None:
    search = CarelessSearch([0.5] * (2 * MAX_SEARCH))
    assert len(await settle_order(search, 10)) == 10
    assert search.asked[-1] == MAX_SEARCH
