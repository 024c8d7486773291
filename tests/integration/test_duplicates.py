"""Looking for duplicates on real stores, held against comparing every image with every other one."""

import asyncio
import hashlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select, text, update

from common.db import criteria, embedding_models, embeddings, fingerprints, lifecycle, likenesses
from common.db.attempts import Fence
from common.db.duplicate_models import Content, Likeness
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, EmbeddingModel, Image
from common.duplicates import DuplicateThresholds
from common.errors import ImageUnreadable, VectorIndexUnavailable
from common.imaging import Preprocess
from common.payloads import payload_of
from common.vectors.base import Collection, Match, Point
from tests.fakes.object_store import MemoryObjectStore
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.indexes import unreliable_index
from tests.fixtures.rows import (
    DIM,
    activate_model,
    create_folder,
    create_owner,
    delete,
    load,
    model_info,
    new_image,
    record_done,
    record_pending,
)
from worker.decode_pool import DecodePool
from worker.duplicates import loop as loop_module
from worker.duplicates import search as search_module
from worker.duplicates.loop import Duplicates
from worker.duplicates.rehash import Rehash
from worker.duplicates.search import DuplicateSearch
from worker.render import Rendered
from worker.stages.fingerprint import Fingerprint
from worker.work import Work

THRESHOLDS = DuplicateThresholds(near_distance=7, near_score=0.9, similar_score=0.99)
Vector = NDArray[np.float32]


class Decoder:
    """A decode pool that tells a hash by the bytes."""

    def __init__(self) -> None:
        self.hashes: dict[bytes, int | None] = {}

    async def render(self, data: bytes, _: Sequence[Preprocess]) -> Rendered:
        if data not in self.hashes:
            raise ImageUnreadable("it is no image")
        return Rendered((), b"", 1, 1, self.hashes[data])


class Bench:
    """Workers that look for duplicates, with all they need."""

    def __init__(self, database: Database, index: UnreliableIndex, model: EmbeddingModel) -> None:
        self.database = database
        self.index = index
        self.model = model
        self.storage = MemoryObjectStore()
        self.decoder = Decoder()

    def worker(self, thresholds: DuplicateThresholds = THRESHOLDS) -> Duplicates:
        return Duplicates(
            self.database,
            DuplicateSearch(self.database, self.index),
            Rehash(self.storage, cast(DecodePool, self.decoder)),
            thresholds,
            interval_s=3600,
        )

    async def index_images(
        self, images: Iterable[Image], vectors: Mapping[str, Vector], hashes: Mapping[str, int | None]
    ) -> None:
        """Have images indexed, and hashed if there is a hash."""
        collection = Collection(self.model.collection, self.model.dim)
        points = [Point(image.id, vectors[image.sha256], payload_of(image)) for image in images]
        async with self.database.begin() as session:
            await embeddings.save(session, self.model.id, {image.sha256: vectors[image.sha256] for image in images})
            await fingerprints.save(
                session, {image.sha256: hashes[image.sha256] for image in images if image.sha256 in hashes}
            )
        await self.index.ensure(collection)
        await self.index.upsert(collection, points)

    async def indexed(self, *looks: tuple[Vector, int | None]) -> list[Image]:
        """Record images that look like this, `done`."""
        images = await record_done(self.database, *(new_image() for _ in looks))
        vectors = {image.sha256: vector for image, (vector, _) in zip(images, looks, strict=True)}
        hashes = {image.sha256: bits for image, (_, bits) in zip(images, looks, strict=True)}
        await self.index_images(images, vectors, hashes)
        return images

    async def compare_all(self, worker: Duplicates | None = None) -> None:
        worker = worker or self.worker()
        while await worker.compare_due(patience_s=0):
            pass

    async def likenesses(self, owner_id: UUID = LOCAL_OWNER_ID) -> dict[tuple[str, str], tuple[str, int | None]]:
        """Return tier and distance of an owner's pairs, by the SHA-256 of both, the lower one first."""
        async with self.database.begin() as session:
            contents = await session.execute(select(Content.id, Content.sha256).where(Content.owner_id == owner_id))
            names = {row.id: row.sha256 for row in contents}
            rows = list(await session.scalars(select(Likeness).where(Likeness.content_id.in_(names))))
        found = {(names[row.content_id], names[row.other_id]): (row.tier, row.distance) for row in rows}
        assert all(found[other, one] == value for (one, other), value in found.items())
        return {pair: value for pair, value in found.items() if pair[0] < pair[1]}

    async def compared_by(self, image: Image) -> int:
        return (await load(self.database, image.id)).compared_by


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    async with unreliable_index(tmp_path) as index:
        yield Bench(database, index, await activate_model(database))


def near(vector: Vector, rng: np.random.Generator, by: float) -> Vector:
    moved = vector + by * rng.standard_normal(DIM)
    return np.asarray(moved / np.linalg.norm(moved), dtype=np.float32)


def some_vector(seed: int) -> Vector:
    return near(np.zeros(DIM, dtype=np.float32), np.random.default_rng(seed), 1)


async def test_all_pairs_are_found_and_no_others(bench: Bench) -> None:
    """By two workers at once, who get the images in any order, second copies of some of them among these."""
    rng, numbers = random.Random(3), np.random.default_rng(3)
    uploads = [new_image() for _ in range(60)]
    vectors: dict[str, Vector] = {}
    hashes: dict[str, int | None] = {}
    for number, upload in enumerate(uploads):
        vector, bits = some_vector(number // 3), random.Random(number // 3).getrandbits(64)
        vectors[upload.sha256] = near(vector, numbers, rng.choice([0.02, 0.2]))
        hashes[upload.sha256] = None if number % 20 == 7 else bits ^ sum(1 << rng.randrange(64) for _ in range(4))
    second, (other_owner, theirs) = await create_folder(bench.database), await create_owner(bench.database)
    copies = [new_image(upload.sha256, folder_id=second) for upload in uploads[::10]]
    others = [new_image(upload.sha256, owner_id=other_owner, folder_id=theirs) for upload in uploads[:20]]
    images = await record_done(bench.database, *uploads, *copies, *others)
    await bench.index_images(images, vectors, hashes)

    workers = bench.worker(), bench.worker()
    rng.shuffle(images)
    for number, image in enumerate(images):
        workers[number % 2].add(image.id)
        if number % 7 == 0:
            workers[(number + 1) % 2].add(image.id)
    await asyncio.gather(*map(bench.compare_all, workers))

    expected: dict[tuple[str, str], tuple[str, int | None]] = {}
    for one, other in itertools.combinations(sorted(vectors), 2):
        mine, their = hashes[one], hashes[other]
        distance = None if mine is None or their is None else (mine ^ their).bit_count()
        tier = THRESHOLDS.tier(distance, float(vectors[one].astype(float) @ vectors[other].astype(float)))
        if tier:
            expected[one, other] = tier, distance
    assert {tier for tier, _ in expected.values()} == {"near", "similar"}
    assert await bench.likenesses() == expected
    shared = {upload.sha256 for upload in uploads[:20]}
    assert await bench.likenesses(other_owner) == {
        pair: value for pair, value in expected.items() if shared.issuperset(pair)
    }
    async with bench.database.begin() as session:
        copied = await session.scalars(select(Content.sha256).where(Content.copies == 2))
    assert set(copied) == {upload.sha256 for upload in copies}


async def test_a_pair_just_above_the_line_is_one_however_the_index_rounds(bench: Bench) -> None:
    rng = np.random.default_rng(5)
    looks = [some_vector(seed) for seed in range(12)]
    looks += [near(vector, rng, 0.02) for vector in looks]
    images = await bench.indexed(*((vector, None) for vector in looks))
    vectors = {image.sha256: vector.astype(float) for image, vector in zip(images, looks, strict=True)}
    scores = {pair: float(vectors[pair[0]] @ vectors[pair[1]]) for pair in itertools.permutations(vectors, 2)}
    search = DuplicateSearch(bench.database, bench.index)
    for line in sorted(score for score in scores.values() if score > 0.99)[::2]:
        thresholds = DuplicateThresholds(near_distance=0, near_score=line, similar_score=line)
        found = await search.find_pairs(LOCAL_OWNER_ID, images, bench.model, thresholds)
        assert {(pair.sha256, pair.other) for pair in found} == {pair for pair in scores if scores[pair] >= line}


async def test_a_comparison_is_followed_by_as_long_a_pause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the index in the api's process, searches by people wait while it is asked: they get their turn."""
    images = await bench.indexed(*((some_vector(seed), None) for seed in range(3)))
    query, asked = bench.index.query, list[tuple[float, float]]()

    async def slow(*arguments: Any, **more: Any) -> list[Match]:
        started = time.perf_counter()
        time.sleep(0.02)  # noqa: ASYNC251 - as the engine does
        found = await query(*arguments, **more)
        asked.append((started, time.perf_counter()))
        return found

    monkeypatch.setattr(bench.index, "query", slow)
    await DuplicateSearch(bench.database, bench.index).find_pairs(LOCAL_OWNER_ID, images, bench.model, THRESHOLDS)
    assert len(asked) == len(images)
    for (started, ended), (next_started, _) in itertools.pairwise(asked):
        assert next_started - ended >= min(ended - started, search_module._LONGEST_PAUSE_S)


async def test_twins_that_are_compared_at_the_same_moment_find_each_other(bench: Bench) -> None:
    """The first is compared before the second is done, but this is written down last."""
    first, second = await bench.indexed((some_vector(1), 1), (some_vector(1), 1))
    async with bench.database.begin() as session:
        number = await criteria.settle(session, bench.model.id, THRESHOLDS)
    pairs = await DuplicateSearch(bench.database, bench.index).find_pairs(
        LOCAL_OWNER_ID, [second], bench.model, THRESHOLDS
    )
    for image, found in ((second, pairs), (first, [])):
        async with bench.database.begin() as session:
            assert await likenesses.record(session, LOCAL_OWNER_ID, [image.id], found, number) == 1
    assert list((await bench.likenesses()).values()) == [("near", 0)]


async def test_hidden_images_have_duplicates_too(bench: Bench) -> None:
    """By their vectors alone: their owner may show them again any time, and nothing is compared anew for that."""
    images = await record_done(bench.database, new_image(), new_image())
    async with bench.database.begin() as session:
        await session.execute(text("UPDATE images SET visibility = 'hidden', visibility_by = 'owner'"))
    hidden = [await load(bench.database, image.id) for image in images]
    await bench.index_images(hidden, {image.sha256: some_vector(1) for image in hidden}, {})
    await bench.compare_all()
    assert list((await bench.likenesses()).values()) == [("similar", None)]


async def test_an_image_that_was_not_decoded_is_left_to_be_hashed(bench: Bench) -> None:
    (image,) = await record_pending(bench.database, new_image())
    async with bench.database.begin() as session:
        (claim,) = await lifecycle.claim(session, [image.id], "tests")
    stage = Fingerprint(bench.database)
    await stage.run(Work(claim, [bench.model], vectors={bench.model.id: some_vector(1)}))
    async with bench.database.begin() as session:
        assert await fingerprints.find(session, [image.sha256]) == {}


async def test_what_is_like_it_may_be_gone_by_the_time_it_is_written_down(bench: Bench) -> None:
    first, second, third = await bench.indexed(*[(some_vector(1), 1)] * 3)
    search = DuplicateSearch(bench.database, bench.index)
    pairs = await search.find_pairs(LOCAL_OWNER_ID, [first, second], bench.model, THRESHOLDS)
    await delete(bench.database, second)
    await delete(bench.database, third)
    async with bench.database.begin() as session:
        assert await likenesses.record(session, LOCAL_OWNER_ID, [first.id, second.id], pairs, 2) == 1
        assert list(await session.scalars(select(Content.sha256))) == [first.sha256]
    assert await bench.likenesses() == {}


async def test_another_model_or_other_thresholds_have_all_compared_again(bench: Bench) -> None:
    images = await bench.indexed((some_vector(1), 1), (some_vector(1), 1), (some_vector(2), None))
    await bench.compare_all()
    assert list((await bench.likenesses()).values()) == [("near", 0)]
    numbers = {await bench.compared_by(image) for image in images}

    stricter = DuplicateThresholds(0, 1.1, 0.99)
    await bench.compare_all(bench.worker(stricter))
    assert list((await bench.likenesses()).values()) == [("similar", 0)]
    assert {await bench.compared_by(image) for image in images} == {max(numbers) + 1}
    (late,) = await bench.indexed((some_vector(1), 1))
    older = bench.worker()
    older._criteria = bench.model.id, max(numbers)
    await bench.compare_all(older)
    assert await bench.compared_by(late) == max(numbers), "a worker of before goes on as it was set up …"
    assert {await bench.compared_by(image) for image in images} == {max(numbers) + 1}, "… and undoes nothing"
    await bench.compare_all(bench.worker(stricter))
    assert {tier for tier, _ in (await bench.likenesses()).values()} == {"similar"}

    async with bench.database.begin() as session:
        await session.execute(text("UPDATE embedding_models SET state = 'retired'"))
        bench.model = await embedding_models.settle_active(session, model_info(name="other"))
    apart = [some_vector(7), -some_vector(7), some_vector(9), -some_vector(9)]
    every = [*images, late]
    await bench.index_images(every, {image.sha256: at for image, at in zip(every, apart, strict=True)}, {})
    await bench.compare_all()
    assert await bench.likenesses() == {}, "hashes alone say nothing"


async def test_images_of_before_there_were_hashes_get_theirs(bench: Bench) -> None:
    looks = {b"a picture": 5, b"the same": 5, b"a blank page": None}
    bench.decoder.hashes |= looks
    datas = [*looks, b"no image", b"lost", b"damaged"]
    hashes = [hashlib.sha256(data).hexdigest() for data in datas]
    images = await record_done(
        bench.database,
        *(new_image(sha256, byte_size=len(data)) for sha256, data in zip(hashes, datas, strict=True)),
    )
    await bench.index_images(images, dict.fromkeys(hashes, some_vector(1)), {})
    for image, data in zip(images, datas, strict=True):
        if data != b"lost":
            stored = data if data != b"damaged" else b"changed"
            await bench.storage.put(image.object_key, BytesIO(stored), len(stored), "image/png")
    await bench.compare_all()
    async with bench.database.begin() as session:
        kept = await fingerprints.find(session, hashes)
    assert kept == dict(zip(hashes, looks.values(), strict=False))
    tiers = await bench.likenesses()
    assert tiers.pop((min(hashes[:2]), max(hashes[:2]))) == ("near", 0)
    assert set(tiers.values()) == {("similar", None)}
    assert len(tiers) == 14, "all others look alike, and have no hash to say more"


async def test_an_outage_postpones_what_is_due(bench: Bench) -> None:
    (image,) = await bench.indexed((some_vector(1), 1))
    worker = bench.worker()
    worker.add(image.id)
    bench.index.down = True
    with pytest.raises(VectorIndexUnavailable):
        await worker.compare_due()
    assert await bench.compared_by(image) == criteria.NEVER
    assert not await worker.compare_due(), "it may be in the queue of another worker"
    bench.index.down = False
    async with bench.database.begin() as session:
        await session.execute(update(Image).values(indexed_at=text("now() - interval '2 minutes'")))
    await worker.compare_due()
    assert await bench.compared_by(image) > criteria.AGAIN


async def test_the_loop_takes_up_what_arrives_and_outlives_an_outage(bench: Bench) -> None:
    first, second = await bench.indexed((some_vector(1), 1), (some_vector(1), 1))
    worker = bench.worker()
    worker._interval_s = 0.01
    bench.index.down = True
    running = asyncio.create_task(worker.run())
    worker.add(first.id)
    async with asyncio.timeout(30):
        while "ensure" not in bench.index.calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        bench.index.down = False
        for image in (first, second):
            worker.add(image.id)
            while await bench.compared_by(image) == criteria.NEVER:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert list((await bench.likenesses()).values()) == [("near", 0)]


async def test_what_is_made_anew_is_compared_again(bench: Bench) -> None:
    (image,) = await bench.indexed((some_vector(1), 1))
    await bench.compare_all()
    async with bench.database.begin() as session:
        assert await lifecycle.redo(session, [Fence(image.id, image.attempt)], "audit", "embedding_missing")
    assert await bench.compared_by(image) == criteria.AGAIN


async def test_who_had_too_many_like_it_is_compared_again_when_one_is_gone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "CANDIDATES", 2)
    images = await bench.indexed(*[(some_vector(1), 1)] * 3, (some_vector(1), 0b111_0000_0001))
    await bench.compare_all()
    await delete(bench.database, images[0])
    worker = bench.worker()
    while await worker.compare_due():
        pass
    assert [await bench.compared_by(image) for image in images[1:]] == [criteria.AGAIN] * 3
    await bench.compare_all()
    assert len(await bench.likenesses()) == 3


async def test_an_unfit_vector_is_passed_over(bench: Bench) -> None:
    images = await bench.indexed((some_vector(1), 1), (some_vector(1), 1))
    async with bench.database.begin() as session:
        await session.execute(
            text("UPDATE embeddings SET vector = '\\x00000000' WHERE sha256 = :sha256"), {"sha256": images[0].sha256}
        )
    await bench.compare_all()
    assert await bench.likenesses() == {}
    assert await bench.compared_by(images[0]) > criteria.AGAIN
