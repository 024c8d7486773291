"""Which model answers: always one that is live, the same for all pages, and the same for the same query."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from api.model_choice import Choice, choose
from common.db.models import EmbeddingModel
from common.errors import InvalidCursor
from tests.fakes.moves import ACTIVE, create_model

OWNER = UUID(int=1)
NEW = create_model(2)
NEW.filled_at = datetime(2026, 1, 1, tzinfo=UTC)
FORMER = create_model(3)
FORMER.filled_at = FORMER.promoted_at = datetime(2026, 1, 1, tzinfo=UTC)
UNFILLED = create_model(4)
A_CAT = "a cat".encode


def test_without_a_share_the_active_model_answers() -> None:
    assert choose([ACTIVE, NEW], OWNER, A_CAT, share=0, going_on=None) == [Choice(ACTIVE)]


def test_the_active_model_stands_behind_the_one_on_trial() -> None:
    chosen = choose([ACTIVE, NEW], OWNER, A_CAT, share=1, going_on=None)
    assert chosen == [Choice(NEW, trial=True), Choice(ACTIVE)]


@pytest.mark.parametrize("building", [[], [FORMER], [UNFILLED]], ids=["none", "former", "unfilled"])
def test_what_is_not_filled_or_was_active_before_is_not_tried(building: list[EmbeddingModel]) -> None:
    assert choose([ACTIVE, *building], OWNER, A_CAT, share=1, going_on=None) == [Choice(ACTIVE)]


def test_the_share_is_about_as_large_as_asked_for_and_each_query_is_always_on_the_same_side() -> None:
    queries = [(UUID(int=number), f"query {number % 50}".encode) for number in range(2000)]

    def tried() -> list[bool]:
        return [choose([ACTIVE, NEW], owner, query, share=0.25, going_on=None)[0].trial for owner, query in queries]

    first = tried()
    assert 0.18 < sum(first) / len(first) < 0.32
    assert tried() == first


@pytest.mark.parametrize(("model", "trial"), [(ACTIVE, False), (NEW, True), (FORMER, False)])
def test_a_later_page_is_by_the_model_of_the_first_whatever_the_share(model: EmbeddingModel, trial: bool) -> None:
    for share in (0, 1):
        chosen = choose([ACTIVE, NEW, FORMER], OWNER, A_CAT, share=share, going_on=model.id)
        assert chosen == [Choice(model, trial=trial)]


def test_a_page_of_a_model_that_is_gone_is_refused() -> None:
    with pytest.raises(InvalidCursor) as refusal:
        choose([ACTIVE, NEW], OWNER, A_CAT, share=1, going_on=99)
    assert refusal.value.code == "stale_cursor"
