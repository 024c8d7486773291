"""What every vector index does alike. The judge is NumPy: every vector compared with the query, then sorted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from common.errors import ConfigurationError
from common.vectors.base import MAX_MATCHES, ROUNDING, Collection, Filter, Match, Point, VectorIndex
from tests.contracts.brute_force import ALICE, BOB, DIM, QUERY, Vector, brute_force, points, same, vectors
from tests.contracts.conftest import KINDS, CreateCollection, open_index

# What the client's in-memory server ignores, it says.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


@dataclass(frozen=True)
class Gallery:
    """A collection that tests read and leave as it is."""

    index: VectorIndex
    collection: Collection
    points: list[Point]

    async def query(self, vector: Vector, wanted: Filter, **window: Any) -> list[Match]:
        return await self.index.query(self.collection, vector, filter=wanted, **window)


@pytest.fixture(scope="session")
async def gallery(index: VectorIndex, create_collection: CreateCollection) -> Gallery:
    collection, stored = await create_collection(), points(400)
    await index.upsert(collection, stored)
    return Gallery(index, collection, stored)


async def everything(index: VectorIndex, collection: Collection, owner_id: UUID = ALICE) -> set[UUID]:
    found = await index.query(collection, QUERY, filter=Filter(owner_id), limit=MAX_MATCHES)
    return {match.id for match in found}


async def test_ranks_like_brute_force(gallery: Gallery) -> None:
    for query in vectors(5, seed=7):
        found = await gallery.query(query, Filter(ALICE), limit=40)
        assert same(found, brute_force(gallery.points, query, Filter(ALICE)), 40)


async def test_a_page_may_be_longer_than_what_there_is(gallery: Gallery) -> None:
    ranking = brute_force(gallery.points, QUERY, Filter(BOB))
    assert same(await gallery.query(QUERY, Filter(BOB), limit=MAX_MATCHES), ranking, MAX_MATCHES)
    assert same(await gallery.query(QUERY, Filter(BOB), limit=len(ranking) + 9), ranking, len(ranking) + 9)


async def test_an_empty_collection_answers(index: VectorIndex, collection: Collection) -> None:
    assert await index.query(collection, QUERY, filter=Filter(ALICE), limit=5) == []
    assert await index.count(collection) == 0


async def test_an_owner_never_sees_the_points_of_another(index: VectorIndex, collection: Collection) -> None:
    alices = points(50, owner_id=ALICE)
    bobs = [Point(uuid4(), point.vector, replace(point.payload, owner_id=BOB)) for point in alices]
    await index.upsert(collection, alices + bobs)
    assert await everything(index, collection, ALICE) == {point.id for point in alices}
    assert await everything(index, collection, BOB) == {point.id for point in bobs}
    assert await everything(index, collection, uuid4()) == set()


async def test_what_is_excluded_makes_room_for_the_next(gallery: Gallery) -> None:
    ranking = brute_force(gallery.points, QUERY, Filter(ALICE))
    exclude = [ranking[0].id, ranking[3].id, uuid4()]
    found = await gallery.query(QUERY, Filter(ALICE), limit=10, exclude=exclude)
    assert same(found, [match for match in ranking if match.id not in exclude], 10)


async def test_a_longer_answer_begins_like_a_shorter_one(gallery: Gallery) -> None:
    ranking = brute_force(gallery.points, QUERY, Filter(ALICE))
    for limit in (1, 36, 37, len(ranking) - 1):
        assert same(await gallery.query(QUERY, Filter(ALICE), limit=limit), ranking, limit)


async def test_equal_scores_are_ordered_by_id(index: VectorIndex, collection: Collection) -> None:
    """As happens when one picture is in several folders."""
    near, far = vectors(2, seed=3)
    payload = points(1, owner_id=ALICE)[0].payload
    stored = [Point(uuid4(), vector, payload) for vector in [near] * 40 + [far] * 40]
    await index.upsert(collection, stored)
    expected = sorted(point.id for point in stored[:40]) + sorted(point.id for point in stored[40:])
    for limit in range(7, 91, 7):
        found = await index.query(collection, near, filter=Filter(ALICE), limit=limit)
        assert [match.id for match in found] == expected[:limit]


async def test_less_similar_than_the_least_score_is_left_out(gallery: Gallery) -> None:
    ranking = brute_force(gallery.points, QUERY, Filter(ALICE))
    between = (ranking[11].score + ranking[12].score) / 2
    assert same(await gallery.query(QUERY, Filter(ALICE), limit=50, min_score=between), ranking[:12], 50)


async def test_a_vector_is_its_own_best_match(gallery: Gallery) -> None:
    point = next(point for point in gallery.points if point.payload.owner_id == ALICE)
    best, *_ = await gallery.query(point.vector, Filter(ALICE), limit=1)
    assert best.id == point.id
    assert best.score == pytest.approx(1, abs=ROUNDING)


async def test_no_score_is_above_one(gallery: Gallery) -> None:
    """Of so many, rounding takes some there."""
    alices = [point for point in gallery.points if point.payload.owner_id == ALICE]
    best = [(await gallery.query(point.vector, Filter(ALICE), limit=1))[0].score for point in alices[:50]]
    assert max(best) <= 1


async def test_fetch_returns_the_vectors_that_exist(gallery: Gallery) -> None:
    some = gallery.points[:7]
    asked = [uuid4(), *(point.id for point in some), some[0].id]
    fetched = await gallery.index.fetch(gallery.collection, asked)
    assert fetched.keys() == {point.id for point in some}
    for point in some:
        assert fetched[point.id].dtype == np.float32
        np.testing.assert_allclose(fetched[point.id], point.vector, atol=ROUNDING)


async def test_payloads_come_back_as_they_were_written(gallery: Gallery) -> None:
    """Over the borders of requests, with ids that are absent or named twice among them."""
    asked = [uuid4(), *(point.id for point in gallery.points), gallery.points[0].id]
    found = await gallery.index.fetch_payloads(gallery.collection, asked)
    assert found == {point.id: point.payload for point in gallery.points}
    assert await gallery.index.fetch_payloads(gallery.collection, []) == {}


async def test_scrolling_meets_every_point_once_in_the_order_of_ids(gallery: Gallery) -> None:
    seen: list[UUID] = []
    while page := await gallery.index.scroll(gallery.collection, after=seen[-1] if seen else None, limit=90):
        assert len(page) == min(90, len(gallery.points) - len(seen))
        seen += page
    assert seen == sorted(point.id for point in gallery.points)


async def test_scrolling_goes_on_after_an_id_whether_or_not_it_is_there(
    index: VectorIndex, collection: Collection
) -> None:
    first, last = UUID(int=0), UUID(int=2**128 - 1)
    middle = UUID(int=1 << 100)
    payload = points(1)[0].payload
    await index.upsert(collection, [Point(id_, QUERY, payload) for id_ in (last, first, middle)])
    assert await index.scroll(collection, limit=10) == [first, middle, last]
    assert await index.scroll(collection, after=first, limit=1) == [middle]
    assert await index.scroll(collection, after=UUID(int=5), limit=10) == [middle, last]
    assert await index.scroll(collection, after=last, limit=10) == []
    await index.delete(collection, [middle])
    assert await index.scroll(collection, after=first, limit=10) == [last]


@pytest.mark.parametrize("limit", [-1, 0, MAX_MATCHES + 1])
async def test_limits_are_bounded(gallery: Gallery, limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        await gallery.query(QUERY, Filter(ALICE), limit=limit)


async def test_upsert_replaces_vector_and_payload(index: VectorIndex, collection: Collection) -> None:
    stored = points(30, owner_id=ALICE)
    await index.upsert(collection, stored)
    changed = replace(stored[0], vector=vectors(1, seed=9)[0], payload=replace(stored[0].payload, owner_id=BOB))
    await index.upsert(collection, [changed])
    assert await index.count(collection) == 30
    assert await everything(index, collection, BOB) == {changed.id}
    np.testing.assert_allclose((await index.fetch(collection, [changed.id]))[changed.id], changed.vector, atol=ROUNDING)


@pytest.mark.parametrize("norm", [1.0009, 0.9991])
async def test_vectors_come_back_normalised(index: VectorIndex, collection: Collection, norm: float) -> None:
    """An audit tells a wrong vector by this."""
    (given,) = points(1, owner_id=ALICE)
    await index.upsert(collection, [replace(given, vector=given.vector * np.float32(norm))])
    np.testing.assert_allclose(
        (await index.fetch(collection, [given.id]))[given.id], given.vector, rtol=0, atol=ROUNDING
    )


async def test_the_last_of_equal_ids_wins(index: VectorIndex, collection: Collection) -> None:
    first = points(1, owner_id=ALICE)[0]
    last = replace(first, vector=vectors(1, seed=9)[0])
    await index.upsert(collection, [first, last])
    assert await index.count(collection) == 1
    np.testing.assert_allclose((await index.fetch(collection, [first.id]))[first.id], last.vector, atol=ROUNDING)


async def test_many_points_at_once(index: VectorIndex, collection: Collection) -> None:
    stored = points(700, owner_id=ALICE)
    await index.upsert(collection, stored)
    fetched = await index.fetch(collection, [point.id for point in stored])
    assert fetched.keys() == {point.id for point in stored}
    await index.delete(collection, [point.id for point in stored[:600]])
    assert await everything(index, collection) == {point.id for point in stored[600:]}


async def test_set_payload_changes_what_filters_find(index: VectorIndex, collection: Collection) -> None:
    stored = points(30, owner_id=ALICE)
    await index.upsert(collection, stored)
    before = replace(stored[0].payload, category="shoes", tags=("red",))
    after = replace(before, folder_id=uuid4(), category=None, tags=("green",))
    await index.set_payload(collection, stored[0].id, before)
    await index.set_payload(collection, stored[0].id, after)
    query = stored[0].vector

    async def found(wanted: Filter) -> bool:
        return stored[0].id in {m.id for m in await index.query(collection, query, filter=wanted, limit=30)}

    assert await found(Filter(ALICE, after.folder_id, tags=("green",)))
    assert not await found(Filter(ALICE, before.folder_id))
    assert not await found(Filter(ALICE, category="shoes"))
    assert not await found(Filter(ALICE, tags=("red",)))
    assert await index.count(collection) == 30
    np.testing.assert_allclose((await index.fetch(collection, [stored[0].id]))[stored[0].id], query, atol=ROUNDING)


async def test_set_payload_of_an_absent_point_has_no_effect(index: VectorIndex, collection: Collection) -> None:
    stored = points(5, owner_id=ALICE)
    await index.upsert(collection, stored)
    await index.set_payload(collection, uuid4(), replace(stored[0].payload, owner_id=BOB))
    assert await index.count(collection) == 5
    assert await everything(index, collection, BOB) == set()


async def test_deleted_points_are_gone(index: VectorIndex, collection: Collection) -> None:
    stored = points(30, owner_id=ALICE)
    await index.upsert(collection, stored)
    gone = [point.id for point in stored[:10]]
    await index.delete(collection, [*gone, uuid4()])
    await index.delete(collection, gone)
    assert await everything(index, collection) == {point.id for point in stored[10:]}
    assert await index.fetch(collection, gone) == {}
    assert await index.count(collection) == 20
    await index.upsert(collection, stored[:1])
    assert await index.count(collection) == 21


async def test_nothing_may_be_asked_for(index: VectorIndex, collection: Collection) -> None:
    await index.upsert(collection, [])
    await index.delete(collection, [])
    assert await index.fetch(collection, []) == {}
    assert await index.fetch_payloads(collection, []) == {}
    assert await index.scroll(collection, limit=5) == []
    assert await index.count(collection) == 0


async def test_ensuring_again_changes_nothing(index: VectorIndex, collection: Collection) -> None:
    stored = points(5, owner_id=ALICE)
    await index.upsert(collection, stored)
    await asyncio.gather(*(index.ensure(collection) for _ in range(3)))
    assert await everything(index, collection) == {point.id for point in stored}


async def test_a_collection_has_one_dimension(index: VectorIndex, collection: Collection) -> None:
    with pytest.raises(ConfigurationError, match=f"{DIM} numbers"):
        await index.ensure(Collection(collection.name, DIM + 1))
    await index.ensure(collection)


def _not_finite(vector: Vector) -> Vector:
    return np.where(np.arange(DIM) == 3, np.float32(np.nan), vector)


BAD_VECTORS: dict[str, Callable[[Vector], Vector]] = {
    "nan": _not_finite,
    "infinite": lambda vector: np.where(np.arange(DIM) == 3, np.float32(np.inf), vector),
    "too short": lambda vector: vector[:-1],
    "too deep": lambda vector: vector[None],
    "too large": lambda vector: np.float32(1.01) * vector,
    "zero": np.zeros_like,
}


@pytest.mark.parametrize("spoil", BAD_VECTORS.values(), ids=BAD_VECTORS.keys())
async def test_bad_vectors_are_refused_whole(gallery: Gallery, spoil: Callable[[Vector], Vector]) -> None:
    good, other = points(2, seed=5, owner_id=ALICE)
    bad = replace(other, vector=spoil(other.vector))
    with pytest.raises(ValueError, match=str(bad.id)):
        await gallery.index.upsert(gallery.collection, [good, bad])
    assert await gallery.index.count(gallery.collection) == len(gallery.points)
    with pytest.raises(ValueError, match="query: expected"):
        await gallery.query(bad.vector, Filter(ALICE), limit=1)


async def test_collections_never_mix(index: VectorIndex, create_collection: CreateCollection) -> None:
    one, other = await create_collection(), await create_collection()
    stored, others = points(20, owner_id=ALICE), points(30, seed=5, owner_id=ALICE)
    await index.upsert(one, stored)
    await index.upsert(other, others)
    await index.upsert(other, [replace(stored[0], vector=vectors(1, seed=9)[0])])
    await index.delete(other, [stored[1].id])
    assert await everything(index, one) == {point.id for point in stored}
    assert await everything(index, other) == {point.id for point in others} | {stored[0].id}
    np.testing.assert_allclose((await index.fetch(one, [stored[0].id]))[stored[0].id], stored[0].vector, atol=ROUNDING)


async def test_queries_and_upserts_at_once(index: VectorIndex, collection: Collection) -> None:
    """Every query sees all that was written before it was asked, and nothing that never was."""
    stored = points(640, owner_id=ALICE)
    ids = {point.id for point in stored}
    written: set[UUID] = set()

    async def write(some: list[Point]) -> None:
        await index.upsert(collection, some)
        written.update(point.id for point in some)

    async def ask() -> None:
        for _ in range(10):
            before = set(written)
            found = await everything(index, collection)
            assert before <= found <= ids
            await asyncio.sleep(0)

    batches = [stored[start : start + 64] for start in range(0, 640, 64)]
    await asyncio.gather(*map(write, batches), *(ask() for _ in range(4)))
    assert await everything(index, collection) == ids


@pytest.mark.parametrize("kind", KINDS)
async def test_it_answers_until_it_is_closed(kind: str, tmp_path: Path) -> None:
    async with open_index(kind, tmp_path) as index:
        await index.ping()
        await index.close()


async def test_a_dropped_collection_is_gone_and_comes_back_empty(index: VectorIndex, collection: Collection) -> None:
    other = Collection(f"{collection.name}-other", collection.dim)
    await index.ensure(other)
    for each in (collection, other):
        await index.upsert(each, points(5, owner_id=ALICE))
    for _ in range(2):
        await index.drop(collection)
    assert await index.count(other) == 5
    await index.ensure(collection)
    assert await index.count(collection) == 0
    await index.upsert(collection, points(3, owner_id=ALICE))
    assert len(await everything(index, collection)) == 3
