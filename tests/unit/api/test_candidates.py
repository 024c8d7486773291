"""The vector index's answers, kept for a few seconds: only for exactly the same question."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from api.candidates import Candidates
from api.settings import CacheSettings
from common.errors import VectorIndexUnavailable
from common.vectors.base import AnyOf, Between, Collection, During, Filter, Match, VectorIndex
from tests.fixtures.rows import DIM, unit_vector

COLLECTION = Collection("m", DIM)
OWNER, IMAGE = uuid4(), uuid4()
WANTED = Filter(
    OWNER,
    tags=("a",),
    created_from=datetime(2026, 1, 1, tzinfo=UTC),
    attributes=(
        AnyOf("brand", ("acme", "other")),
        Between("price", lte=100),
        During("made", gte=datetime(2026, 1, 1, tzinfo=UTC)),
    ),
)


class Index:
    """Counts questions, and answers each with another match."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False

    async def query(self, *_: object, **__: object) -> list[Match]:
        if self.down:
            raise VectorIndexUnavailable("scripted")
        self.asked += 1
        return [Match(UUID(int=self.asked), 0.5)]


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def candidates(index: Index) -> Candidates:
    return Candidates(cast(VectorIndex, index), CacheSettings(candidates_s=60, candidates=100))


QUESTION: dict[str, Any] = {
    "collection": COLLECTION,
    "vector": unit_vector(1),
    "filter": WANTED,
    "limit": 10,
    "min_score": 0.2,
    "exclude": [IMAGE],
}


async def test_the_same_question_is_asked_once(candidates: Candidates, index: Index) -> None:
    first = await candidates.query(**QUESTION)
    same = {**QUESTION, "vector": unit_vector(1), "filter": replace(WANTED), "exclude": [IMAGE, IMAGE]}
    assert await candidates.query(**same) == first
    assert index.asked == 1


@pytest.mark.parametrize(
    "difference",
    [
        {"collection": Collection("other", DIM)},
        {"vector": unit_vector(2)},
        {"filter": replace(WANTED, owner_id=uuid4())},
        {"filter": replace(WANTED, folder_id=IMAGE)},
        {"filter": replace(WANTED, tags=(), any_tags=("a",))},
        {"filter": replace(WANTED, attributes=WANTED.attributes[1:])},
        {"limit": 11},
        {"min_score": None},
        {"min_score": 0.3},
        {"exclude": []},
    ],
    ids=lambda difference: next(iter(difference)),
)
async def test_any_difference_makes_it_another_question(
    candidates: Candidates, index: Index, difference: dict[str, Any]
) -> None:
    first = await candidates.query(**QUESTION)
    assert await candidates.query(**QUESTION | difference) != first
    assert index.asked == 2


async def test_a_failure_is_no_answer(candidates: Candidates, index: Index) -> None:
    index.down = True
    with pytest.raises(VectorIndexUnavailable):
        await candidates.query(**QUESTION)
    index.down = False
    assert len(await candidates.query(**QUESTION)) == 1
