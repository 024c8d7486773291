"""What the search log is told of a search, and that telling it can't go wrong."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import numpy as np
import pytest

from api.examples import Example
from api.logged_similarity import LoggedSimilarity, describe
from api.paging import Seen, Window
from api.search_log import SearchLog
from api.similarity import Results, Similarity
from common.db.models import EmbeddingModel
from common.db.reads import ShownImage
from common.db.searches import NewSearch
from common.errors import EmbedderUnavailable
from common.settings import SearchLogSettings
from common.vectors.base import AnyOf, Between, Condition, During, Equals, Filter

OWNER, IMAGE, OTHER = uuid4(), uuid4(), uuid4()
EVERYTHING = Filter(OWNER)
FIRST_PAGE = Window(limit=10)
SHOWN = cast(ShownImage, object())
FOUND = Results(EmbeddingModel(name="m", pretrained="p"), [(0.5, SHOWN), (0.4, SHOWN)], None, no_good_match=False)
VECTOR = np.array([1, 0], np.float32)


class Scripted:
    """Finds two images, or nothing at all."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def by_examples(self, *_: object) -> Results:
        if self.error is not None:
            raise self.error
        return FOUND

    by_picture = by_examples


class Notes:
    """A search log that shows what it is told."""

    def __init__(self) -> None:
        self._searches: list[NewSearch] = []

    def note(self, search: NewSearch) -> None:
        self._searches.append(search)

    async def told(self) -> list[NewSearch]:
        """Return the searches, once what is to be told after the answer has had its turn."""
        await asyncio.sleep(0)
        return self._searches


@pytest.fixture
def notes() -> Notes:
    return Notes()


def logged(notes: Notes, scripted: Scripted | None = None, session: str | None = None, **settings: Any) -> Any:
    return LoggedSimilarity(
        cast(Similarity, scripted or Scripted()), cast(SearchLog, notes), SearchLogSettings(**settings), session
    )


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([Example("a")], ("text", "a", None)),
        ([Example(IMAGE)], ("image", None, IMAGE)),
        ([Example(VECTOR)], ("examples", None, None)),
        ([Example(IMAGE), Example("red", 0.5), Example("green", -1), Example(OTHER)], ("examples", "red", IMAGE)),
        ([Example("not this", -1)], ("examples", "not this", None)),
    ],
    ids=["text", "image", "vector", "several", "negative"],
)
async def test_a_search_is_noted_for_what_it_is(
    notes: Notes, examples: Sequence[Example], expected: tuple[str, str | None, UUID | None]
) -> None:
    assert await logged(notes).by_examples(examples, EVERYTHING, FIRST_PAGE) is FOUND
    (search,) = await notes.told()
    assert (search.kind, search.text, search.image_id) == expected
    assert (search.owner_id, search.found, search.depth, search.model) == (OWNER, 2, 0, "m/p")
    assert (search.filters, search.session, search.trial) == ({}, None, False)
    assert search.ms >= 0


async def test_pictures_and_further_pages_are_noted(notes: Notes) -> None:
    window = Window(limit=10, seen=Seen(30, 0.5, OTHER, 1), min_score=0.0)
    assert await logged(notes, session="visit-1").by_picture(b"", "00", EVERYTHING, window) is FOUND
    (search,) = await notes.told()
    assert (search.kind, search.depth, search.filters, search.session) == ("picture", 30, {"min_score": 0.0}, "visit-1")


async def test_what_was_not_answered_is_not_noted(notes: Notes) -> None:
    scripted = Scripted()
    scripted.error = EmbedderUnavailable("scripted")
    with pytest.raises(EmbedderUnavailable):
        await logged(notes, scripted).by_examples([Example("a")], EVERYTHING, FIRST_PAGE)
    assert await notes.told() == []


async def test_switched_off_nothing_is_noted(notes: Notes) -> None:
    similarity = logged(notes, enabled=False)
    await similarity.by_examples([Example("a")], EVERYTHING, FIRST_PAGE)
    await similarity.by_picture(b"", "00", EVERYTHING, FIRST_PAGE)
    assert await notes.told() == []


@pytest.mark.parametrize("session", ["", "a" * 129, "ä", "a b", "a\n", '"', "\0"])
async def test_a_strange_session_is_not_noted(notes: Notes, session: str) -> None:
    await logged(notes, session=session).by_examples([Example("a")], EVERYTHING, FIRST_PAGE)
    assert (await notes.told())[0].session is None


async def test_texts_are_cut_and_can_be_stored(notes: Notes) -> None:
    similarity = logged(notes, text_chars=5)
    for text in ("a long text", "a\0b", "a\ud800b", "äöüßé…"):
        await similarity.by_examples([Example(text)], EVERYTHING, FIRST_PAGE)
    assert [search.text for search in await notes.told()] == ["a lon", "a\N{REPLACEMENT CHARACTER}b", "a?b", "äöüßé"]


def test_filters_are_told_in_full() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    conditions: tuple[Condition, ...] = (
        Equals("size", 42),
        AnyOf("brand", ("acme", "b")),
        Between("price", gte=0, lt=9.5),
        During("made", gt=day),
    )
    wanted = Filter(OWNER, IMAGE, "shoes", ("a", "b"), ("c",), day, day, conditions)
    assert json.loads(json.dumps(describe(wanted, -0.5))) == {
        "folder_id": str(IMAGE),
        "category": "shoes",
        "tags": ["a", "b"],
        "any_tags": ["c"],
        "created_from": "2026-01-01 00:00:00+00:00",
        "created_before": "2026-01-01 00:00:00+00:00",
        "attributes": [
            {"field": "size", "value": 42},
            {"field": "brand", "values": ["acme", "b"]},
            {"field": "price", "gte": 0, "lt": 9.5},
            {"field": "made", "gt": "2026-01-01 00:00:00+00:00"},
        ],
        "min_score": -0.5,
    }
    assert describe(EVERYTHING, None) == {}
    assert describe(Filter(OWNER, tags=("t" * 5000,)), None) == {"too_long": True}
