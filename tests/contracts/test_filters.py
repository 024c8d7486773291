"""Filters, each with every other, on every vector index; the judge is brute force."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import cycle, product
from uuid import UUID

import pytest

from common.vectors.base import (
    AnyOf,
    Between,
    Collection,
    Condition,
    During,
    Equals,
    Facet,
    Filter,
    Point,
    VectorIndex,
)
from tests.contracts.brute_force import ALICE, CATEGORIES, FIRST, FOLDERS, QUERY, TAGS, brute_force, holds, points, same
from tests.contracts.conftest import CreateCollection

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]

NUMBER = 1000
LIMIT = 100
LATER = FIRST.astimezone(timezone(timedelta(hours=-7))) + timedelta(minutes=NUMBER // 4)
MUCH_LATER = LATER + timedelta(minutes=NUMBER // 2, microseconds=1)
"""Spans begin and end on a point's very moment, or just after it."""

FOLDER: list[UUID | None] = [None, FOLDERS[1]]
CATEGORY = [None, CATEGORIES[1]]
ALL_TAGS: list[tuple[str, ...]] = [(), ("red",), ("sale", "red")]
ANY_TAGS: list[tuple[str, ...]] = [(), ("blue", "sale", "unheard of")]
SPANS = [(None, None), (LATER, None), (None, MUCH_LATER), (LATER, MUCH_LATER)]
ATTRIBUTES: dict[str, tuple[Condition, ...]] = {
    "any": (),
    "keyword": (Equals("brand", "acme"),),
    "empty keyword": (Equals("brand", ""),),
    "keywords": (AnyOf("brand", ("Acme", "zebra & söhne", "unheard of")),),
    "integer": (Equals("size", 42),),
    "largest integer": (Equals("size", 2**53),),
    "integers": (AnyOf("size", (0, -1, 7)),),
    "range of integers": (Between("size", gt=0, lte=42),),
    "at most": (Between("price", lte=100),),
    "below": (Between("price", lt=100),),
    "within": (Between("price", gte=0, lt=99.99),),
    "just so": (Between("price", gte=0.1, lte=0.1),),
    "true": (Equals("sold", "true"),),
    "false": (Equals("sold", "false"),),
    "since": (During("made", gte=FIRST),),
    "before": (During("made", lt=FIRST),),
    "at that moment": (During("made", gte=FIRST, lte=FIRST),),
    "several": (Between("price", gt=0), Equals("sold", "false"), AnyOf("brand", ("acme", "Acme"))),
}


@pytest.fixture(scope="module")
def stored() -> list[Point]:
    return points(NUMBER, seed=3, some_hidden=True)


@pytest.fixture(scope="session")
async def shop(index: VectorIndex, create_collection: CreateCollection) -> Collection:
    collection = await create_collection()
    await index.upsert(collection, points(NUMBER, seed=3, some_hidden=True))
    return collection


SEEN = [((), False), (("a red circle",), False), ((), True), (("ein Hut",), True), (("a red circle", "ein Hut"), True)]
"""Labels, and whether hidden ones count. They take turns with all of these, as there are five …"""

COMBINED = list(product(FOLDER, CATEGORY, ALL_TAGS, ANY_TAGS, SPANS))
_EVERY = 5
"""… and so do conditions on attributes: as 5 divides none of the lists, each meets every member of each."""


@pytest.mark.parametrize(("turn", "attributes"), list(enumerate(ATTRIBUTES.values())), ids=ATTRIBUTES)
async def test_filters_like_brute_force(
    index: VectorIndex, shop: Collection, stored: Sequence[Point], turn: int, attributes: tuple[Condition, ...]
) -> None:
    passed = 0
    combined = COMBINED[turn % _EVERY :: _EVERY] if attributes else COMBINED
    for (folder_id, category, tags, any_tags, (start, end)), seen in zip(combined, cycle(SEEN), strict=False):
        wanted = Filter(ALICE, folder_id, category, tags, any_tags, start, end, attributes, *seen)
        ranking = brute_force(stored, QUERY, wanted)
        assert same(await index.query(shop, QUERY, filter=wanted, limit=LIMIT), ranking, LIMIT), wanted
        passed += bool(ranking)
    assert passed > 1, "filters that nothing passes prove nothing"


async def test_facets_count_what_passes(index: VectorIndex, shop: Collection, stored: Sequence[Point]) -> None:
    """Queries have met every combination of filters; here each condition is met once."""
    filters = [Filter(ALICE, None, *some, LATER) for some in product(CATEGORY, ALL_TAGS, ANY_TAGS)]
    filters += [Filter(ALICE, labels=labels, include_hidden=hidden) for labels, hidden in SEEN]
    filters += [Filter(ALICE, attributes=conditions) for conditions in ATTRIBUTES.values()]
    for wanted in filters:
        passing = [point.payload for point in stored if holds(wanted, point.payload)]
        categories = Counter(payload.category for payload in passing if payload.category is not None)
        assert await index.facet(shop, "category", filter=wanted, limit=10) == most_common(categories)
        tagged = Counter(tag for payload in passing for tag in payload.tags)
        assert await index.facet(shop, "tags", filter=wanted, limit=10) == most_common(tagged)


def most_common(counts: Counter[str]) -> list[Facet]:
    return [Facet(value, count) for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


async def test_the_most_frequent_facets_come_first(
    index: VectorIndex, shop: Collection, stored: Sequence[Point]
) -> None:
    everything = await index.facet(shop, "tags", filter=Filter(ALICE), limit=10)
    assert len(everything) == len(TAGS)
    assert await index.facet(shop, "tags", filter=Filter(ALICE), limit=1) == everything[:1]


NOTHING = {
    "another folder": Filter(ALICE, folder_id=UUID(int=9)),
    "another case": Filter(ALICE, category="Shoes"),
    "a tag too many": Filter(ALICE, tags=("red", "green")),
    "none of the tags": Filter(ALICE, any_tags=("green", "Red")),
    "an unheard-of label": Filter(ALICE, labels=("a red circle", "A red circle")),
    "too early": Filter(ALICE, created_before=FIRST),
    "no time at all": Filter(ALICE, created_from=LATER, created_before=LATER),
    "unheard of": Filter(ALICE, attributes=(Equals("brand", "ACME"),)),
    "nothing between": Filter(ALICE, attributes=(Between("price", gt=100, lt=100.01),)),
    "long ago": Filter(ALICE, attributes=(During("made", lt=datetime.fromisoformat("2025-01-01T00:00:00Z")),)),
}


@pytest.mark.parametrize("wanted", NOTHING.values(), ids=NOTHING)
async def test_a_filter_may_leave_nothing(index: VectorIndex, shop: Collection, wanted: Filter) -> None:
    assert await index.query(shop, QUERY, filter=wanted, limit=LIMIT) == []
