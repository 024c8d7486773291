"""Other orders than by likeness."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from api.ranking import BY_LIKENESS, Candidate, Ranking, order

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EAST, NORTH = np.array([1, 0], dtype=np.float32), np.array([0, 1], dtype=np.float32)


def candidate(number: int, score: float, days: float = 0, angle: float = 0, group: int | None = None) -> Candidate:
    """Return a candidate so many days old, whose vector is so many degrees from the east."""
    turned = np.cos(np.radians(angle)) * EAST + np.sin(np.radians(angle)) * NORTH
    vector = np.asarray(turned, dtype=np.float32)
    created_at = NOW - timedelta(days=days)
    return Candidate(UUID(int=number), score, created_at, vector, UUID(int=group) if group is not None else None)


def ordered(candidates: list[Candidate], ranking: Ranking, limit: int = 10) -> list[int]:
    """Return the numbers in order; the order given must not matter."""
    found = [each.id.int for each in order(candidates, ranking, NOW, limit)]
    assert found == [each.id.int for each in order(candidates[::-1], ranking, NOW, limit)]
    return found


def test_by_likeness_equals_are_ordered_by_id() -> None:
    assert BY_LIKENESS.plain
    assert ordered([candidate(2, 0.5), candidate(1, 0.5), candidate(3, 0.9)], BY_LIKENESS) == [3, 1, 2]
    assert ordered([], Ranking(diversity=0.5)) == []


def test_newer_ones_come_first_as_far_as_that_counts() -> None:
    old, new = candidate(1, 0.6, days=60), candidate(2, 0.5, days=0)
    assert ordered([old, new], Ranking(recency=0.2)) == [2, 1]
    assert ordered([old, new], Ranking(recency=0.2, half_life=timedelta(days=36_500))) == [1, 2]
    assert ordered([candidate(1, 0.1), candidate(2, 0.9, days=1)], Ranking(recency=1)) == [1, 2]


def test_a_half_life_halves() -> None:
    """At a blend of one to one, half of newness lost weighs as much as a likeness lower by a half."""
    one, half_life = Ranking(recency=0.5), Ranking().half_life
    aged = replace(candidate(1, 0.7), created_at=NOW - half_life)
    assert ordered([aged, candidate(2, 0.19)], one) == [1, 2]
    assert ordered([aged, candidate(2, 0.21)], one) == [2, 1]


def test_an_image_from_the_future_is_as_new_as_can_be() -> None:
    assert ordered([candidate(1, 0.5, days=-1000), candidate(2, 0.5)], Ranking(recency=0.5)) == [1, 2]


def test_of_a_group_the_first_is_shown() -> None:
    candidates = [candidate(1, 0.9, group=7), candidate(2, 0.95, group=7), candidate(3, 0.5), candidate(4, 0.4)]
    assert ordered(candidates, Ranking(one_per_group=True)) == [2, 3, 4]
    assert ordered(candidates, Ranking(one_per_group=True), limit=2) == [2, 3]


def test_diverse_results_are_unlike_each_other() -> None:
    alike = [candidate(number, 0.9 - number / 1000, angle=number) for number in range(5)]
    other = candidate(9, 0.6, angle=90)
    assert ordered([*alike, other], Ranking(diversity=0.01)) == [0, 1, 2, 3, 4, 9]
    assert ordered([*alike, other], Ranking(diversity=0.5), limit=2) == [0, 9]


@pytest.mark.parametrize("diversity", [0.2, 0.5, 0.8, 1.0])
def test_marginal_relevance_as_it_is_defined(diversity: float) -> None:
    choose = np.random.default_rng(4)
    candidates = [candidate(n, float(choose.uniform(0, 1)), angle=float(choose.uniform(0, 90))) for n in range(12)]

    chosen: list[Candidate] = []
    while len(chosen) < len(candidates):
        left = [each for each in candidates if each not in chosen]

        def value(each: Candidate) -> float:
            nearest = max(float(each.vector @ other.vector) for other in chosen)
            return (1 - diversity) * each.score - diversity * nearest

        chosen.append(max(left, key=value if chosen else lambda each: each.score))
    expected = [each.id.int for each in chosen]
    assert ordered(candidates, Ranking(diversity=diversity), limit=12) == expected
    assert ordered(candidates, Ranking(diversity=diversity), limit=5) == expected[:5]
