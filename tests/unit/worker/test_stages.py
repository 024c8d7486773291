"""The built-in stages, each on its own: what it takes from the work, what it leaves there, and what it refuses."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import cast
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from common.budget import Budget
from common.db.models import EmbeddingModel
from common.errors import (
    EmbedderUnavailable,
    EmbeddingInvalid,
    ImageUnreadable,
    LikenessError,
    ObjectCorrupt,
    ObjectNotFound,
    UnknownModel,
    VectorIndexRefused,
    VectorIndexUnavailable,
)
from common.imaging import Preprocess
from common.payloads import payload_of
from common.storage import thumbnail_key
from common.vectors.base import Collection, Point, VectorIndex
from tests.fakes.moves import ACTIVE, FakeMoves, create_claim, create_model
from tests.fakes.object_store import MemoryObjectStore
from tests.fakes.pipelines import Harness, StepStage
from worker.decode_pool import DecodePool
from worker.render import Rendered
from worker.served import ServedModels
from worker.stages.decode import Decode
from worker.stages.embed import Embed
from worker.stages.fetch import Fetch
from worker.stages.index import Index
from worker.stages.thumbnail import Thumbnail
from worker.work import Work

BYTES = b"!"
PIXELS = np.zeros((2, 2, 3), dtype=np.uint8)
VECTOR = np.array([1, 0], dtype=np.float32)
COLLECTION = Collection(ACTIVE.collection, ACTIVE.dim)
WISHES = {1: Preprocess(2), 2: Preprocess(3), 3: Preprocess(2)}
"""How the models want their images: those with the ids 1 and 3 alike."""


class Renderer:
    """A decode pool that knows one good image."""

    def __init__(self) -> None:
        self.asked: list[list[Preprocess]] = []

    async def render(self, data: bytes, preprocesses: Sequence[Preprocess]) -> Rendered:
        self.asked.append(list(preprocesses))
        if data != BYTES:
            raise ImageUnreadable("it is no image", code="image_truncated")
        return Rendered(tuple(np.full((wish.size,) * 2 + (3,), 0, np.uint8) for wish in preprocesses), b"small", 2, 2)


class Embedder:
    """Serves models that embed an image as its first pixel says; remembers how many came at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.error: Exception | None = None
        self.failing: set[int] = set()
        """Models that fail by `error`; none named: all."""
        self.spoilt = 255

    async def preprocess(self, model: EmbeddingModel) -> Preprocess:
        if model.id not in WISHES:
            raise UnknownModel(f"{model.name} is not served")
        return WISHES[model.id]

    async def encode(self, model: EmbeddingModel, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.sizes.append(len(images))
        if self.error is not None and (not self.failing or model.id in self.failing):
            raise self.error
        if any(image[0, 0, 0] == self.spoilt for image in images):
            raise EmbeddingInvalid("not a number")
        return [np.array([float(image[0, 0, 0]), 0], dtype=np.float32) for image in images]


class Points:
    """A vector index that remembers each upsert."""

    def __init__(self) -> None:
        self.upserts: list[list[Point]] = []
        self.error: Exception | None = None
        self.well: set[str] = set()
        self.collections: list[str] = []
        self.refused: UUID | None = None

    async def ensure(self, collection: Collection) -> None:
        pass

    async def upsert(self, collection: Collection, points: Sequence[Point]) -> None:
        if self.error is not None and collection.name not in self.well:
            raise self.error
        if any(point.id == self.refused for point in points):
            raise VectorIndexRefused("not this one")
        self.upserts.append(list(points))
        self.collections.append(collection.name)


SERVED = cast(ServedModels, Embedder())


def new_work(image_id: UUID | None = None) -> Work:
    return Work(create_claim(image_id or uuid4()), [ACTIVE])


def stored(storage: MemoryObjectStore, data: bytes) -> Work:
    """Store bytes; return the work on the image whose row says that it has `BYTES`."""
    work = new_work()
    object.__setattr__(work.claim, "sha256", hashlib.sha256(BYTES).hexdigest())
    storage.objects[work.claim.object_key] = data
    return work


async def test_fetch_brings_the_bytes_that_were_uploaded() -> None:
    storage = MemoryObjectStore()
    work = stored(storage, BYTES)
    await Fetch(storage, Budget(100)).run(work)
    assert work.data == BYTES


async def test_fetch_refuses_other_bytes() -> None:
    storage = MemoryObjectStore()
    work = stored(storage, b"?")
    with pytest.raises(ObjectCorrupt, match=str(work.claim.id)):
        await Fetch(storage, Budget(100)).run(work)
    assert work.data is None


async def test_fetch_of_what_is_lost_says_so() -> None:
    with pytest.raises(ObjectNotFound):
        await Fetch(MemoryObjectStore(), Budget(100)).run(new_work())


async def test_fetch_waits_until_there_is_memory_for_the_bytes_and_decode_gives_it_back() -> None:
    storage, memory = MemoryObjectStore(), Budget(2)
    works = [stored(storage, BYTES) for _ in range(3)]
    fetch, decode = Fetch(storage, memory), Decode(cast(DecodePool, Renderer()), SERVED)
    await asyncio.gather(*map(fetch.run, works[:2]))
    third = asyncio.create_task(fetch.run(works[2]))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (third.done(), memory.used, works[2].data) == (False, 2, None)
    await decode.run(works[0])
    await third
    assert (memory.used, works[2].data) == (2, BYTES)


async def test_an_attempt_that_fails_before_decoding_gives_its_memory_back() -> None:
    memory = Budget(10)

    async def fail(work: Work) -> None:
        work.data = BYTES
        work.memory = await memory.take(1)
        raise ImageUnreadable("of no use")

    lost = Harness(Fetch(MemoryObjectStore(), memory), images=3)
    bad = Harness(StepStage("fetch", fail), images=3)
    await asyncio.gather(*(harness.pipeline.process_all(harness.ids) for harness in (lost, bad)))
    assert lost.states == ["pending"] * 3
    assert bad.states == ["error"] * 3
    assert memory.used == 0


async def test_what_was_embedded_before_is_neither_fetched_nor_decoded_nor_embedded_again() -> None:
    storage, embedder = MemoryObjectStore(), Embedder()
    storage.down = True
    work = new_work()
    moves = FakeMoves([work.claim.id])
    work = await moves.claim(work.claim.id) or work
    work.vectors = {ACTIVE.id: VECTOR}
    await Fetch(storage, Budget(100)).run(work)
    await Decode(cast(DecodePool, Renderer()), SERVED).run(work)
    await Thumbnail(storage).run(work)
    await Embed(cast(ServedModels, embedder), moves, 8).run(work)
    assert embedder.sizes == []
    assert moves.status[work.claim.id] == "indexing"
    assert moves.vectors[work.claim.id] is VECTOR


async def test_decode_leaves_pixels_and_thumbnail_and_lets_the_bytes_go() -> None:
    work = new_work()
    work.data = BYTES
    await Decode(cast(DecodePool, Renderer()), SERVED).run(work)
    assert work.thumbnail == b"small"
    assert not work.data
    assert {id_: pixels.shape for id_, pixels in work.pixels.items()} == {ACTIVE.id: PIXELS.shape}


async def test_decode_refuses_what_is_no_image() -> None:
    work = new_work()
    work.data = b"no image"
    with pytest.raises(ImageUnreadable):
        await Decode(cast(DecodePool, Renderer()), SERVED).run(work)


async def test_a_thumbnail_is_stored_beside_the_original_and_let_go() -> None:
    storage, work = MemoryObjectStore(), new_work()
    work.thumbnail = b"small"
    for _ in range(2):
        await Thumbnail(storage).run(work)
    assert storage.objects == {thumbnail_key(work.claim.sha256): b"small"}
    assert work.thumbnail is None


async def test_images_that_come_together_are_embedded_together_and_each_gets_its_own_vector() -> None:
    embedder, ids = Embedder(), [uuid4() for _ in range(8)]
    moves = FakeMoves(ids)
    works = [work for work in await asyncio.gather(*map(moves.claim, ids)) if work is not None]
    for number, work in enumerate(works):
        work.pixels = {ACTIVE.id: np.full((2, 2, 3), number, dtype=np.uint8)}
    stage = Embed(cast(ServedModels, embedder), moves, 4)
    await asyncio.gather(*map(stage.run, works))
    assert embedder.sizes == [4, 4]
    assert [float(moves.vectors[id_][0]) for id_ in ids] == list(range(8))
    assert all(work.pixels == {} for work in works)


async def test_an_embedder_that_is_down_fails_its_images_and_saves_nothing() -> None:
    embedder, ids = Embedder(), [uuid4(), uuid4()]
    embedder.error = EmbedderUnavailable("away")
    moves = FakeMoves(ids)
    works = [work for work in await asyncio.gather(*map(moves.claim, ids)) if work is not None]
    for work in works:
        work.pixels = {ACTIVE.id: PIXELS}
    stage = Embed(cast(ServedModels, embedder), moves, 2)
    outcomes = await asyncio.gather(*map(stage.run, works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EmbedderUnavailable] * 2
    assert moves.vectors == {}


async def test_a_picture_without_a_vector_fails_alone() -> None:
    embedder, ids = Embedder(), [uuid4() for _ in range(8)]
    moves = FakeMoves(ids)
    works = [work for work in await asyncio.gather(*map(moves.claim, ids)) if work is not None]
    for number, work in enumerate(works):
        work.pixels = {ACTIVE.id: np.full((2, 2, 3), number, dtype=np.uint8)}
    embedder.spoilt = 5
    stage = Embed(cast(ServedModels, embedder), moves, 4)
    outcomes = await asyncio.gather(*map(stage.run, works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 5 + [EmbeddingInvalid] + [type(None)] * 2
    assert [float(moves.vectors[id_][0]) for id_ in ids if id_ in moves.vectors] == [0, 1, 2, 3, 4, 6, 7]
    assert embedder.sizes == [4, 4, 1, 1, 1, 1]


async def test_stages_out_of_order_are_a_defect() -> None:
    with pytest.raises(RuntimeError, match="decode"):
        await Embed(cast(ServedModels, Embedder()), FakeMoves(), 1).run(new_work())
    with pytest.raises(RuntimeError, match="embed"):
        await Index(cast(VectorIndex, Points())).run(new_work())


async def test_points_that_come_together_are_written_together_under_the_images_ids() -> None:
    points, works = Points(), [new_work() for _ in range(3)]
    for work in works:
        work.vectors = {ACTIVE.id: VECTOR}
    stage = Index(cast(VectorIndex, points))
    await asyncio.gather(*map(stage.run, works))
    (written,) = points.upserts
    assert [(point.id, point.payload) for point in written] == [
        (work.claim.id, payload_of(work.claim)) for work in works
    ]
    assert all(point.vector is VECTOR for point in written)


async def test_an_index_that_is_down_fails_its_images() -> None:
    points, work = Points(), new_work()
    points.error = VectorIndexUnavailable("away")
    work.vectors = {ACTIVE.id: VECTOR}
    with pytest.raises(VectorIndexUnavailable):
        await Index(cast(VectorIndex, points)).run(work)


async def test_a_point_that_is_refused_fails_alone() -> None:
    points, works = Points(), [new_work() for _ in range(4)]
    for work in works:
        work.vectors = {ACTIVE.id: VECTOR}
    points.refused = works[2].claim.id
    stage = Index(cast(VectorIndex, points))
    outcomes = await asyncio.gather(*map(stage.run, works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [VectorIndexRefused, type(None)]
    assert len(points.upserts) == 3


@pytest.mark.parametrize("spoilt", [[np.nan, 1], [3, 4], [1, 0, 0]], ids=["nan", "norm", "dim"])
async def test_a_kept_vector_that_is_spoilt_never_meets_the_others(spoilt: list[float]) -> None:
    points, works = Points(), [new_work() for _ in range(3)]
    for work in works:
        work.vectors = {ACTIVE.id: VECTOR}
    works[1].vectors = {ACTIVE.id: np.array(spoilt, dtype=np.float32)}
    stage = Index(cast(VectorIndex, points))
    outcomes = await asyncio.gather(*map(stage.run, works), return_exceptions=True)
    assert isinstance(outcomes[1], LikenessError)
    assert outcomes[1].code == "vector_invalid"
    assert [len(written) for written in points.upserts] == [2]


BUILDING = [create_model(2, dim=3), create_model(3)]


async def test_models_with_the_same_wishes_share_pixels_and_one_decoding_serves_all() -> None:
    work, renderer = new_work(), Renderer()
    work.models, work.data = [ACTIVE, *BUILDING, create_model(4)], BYTES
    await Decode(cast(DecodePool, renderer), SERVED).run(work)
    assert renderer.asked == [[Preprocess(2), Preprocess(3)]]
    assert work.pixels.keys() == {1, 2, 3}, "the one that is not served is left behind"
    assert work.pixels[1] is work.pixels[3]


async def test_an_active_model_that_is_not_served_holds_its_images_up() -> None:
    work = new_work()
    work.models, work.data = [create_model(4, "active"), ACTIVE], BYTES
    with pytest.raises(UnknownModel):
        await Decode(cast(DecodePool, Renderer()), SERVED).run(work)


async def test_every_model_gets_its_vector_and_its_point() -> None:
    embedder, points, moves = Embedder(), Points(), FakeMoves([uuid4()])
    moves.models = [ACTIVE, *BUILDING]
    (image_id,) = moves.status
    work = await moves.claim(image_id)
    assert work is not None
    one = np.ones((2, 2, 3), dtype=np.uint8)
    work.pixels = {1: one, 3: one}
    work.vectors = {2: np.array([0, 0, 1], dtype=np.float32)}
    await Embed(cast(ServedModels, embedder), moves, 8).run(work)
    await Index(cast(VectorIndex, points)).run(work)
    assert moves.vectors_by_model[image_id].keys() == {1, 2, 3}
    assert sorted(points.collections) == [f"model-{number}" for number in (1, 2, 3)]
    assert work.indexed == {1, 2, 3}


async def test_a_building_model_in_trouble_holds_no_image_up() -> None:
    embedder, points, moves = Embedder(), Points(), FakeMoves([uuid4()])
    embedder.error, embedder.failing = EmbeddingInvalid("nonsense"), {3}
    points.error, points.well = VectorIndexUnavailable("away"), {ACTIVE.collection}
    moves.models = [ACTIVE, *BUILDING]
    (image_id,) = moves.status
    work = await moves.claim(image_id)
    assert work is not None
    one = np.ones((2, 2, 3), dtype=np.uint8)
    work.pixels = {1: one, 3: one}
    work.vectors = {2: np.array([0, 0, 1], dtype=np.float32)}
    await Embed(cast(ServedModels, embedder), moves, 8).run(work)
    await Index(cast(VectorIndex, points)).run(work)
    assert moves.vectors_by_model[image_id].keys() == {1, 2}
    assert work.indexed == {1}


async def test_a_building_models_vector_that_is_not_cached_keeps_no_cached_one_waiting() -> None:
    storage = MemoryObjectStore()
    storage.down = True
    work = new_work()
    work.models, work.vectors = [ACTIVE, *BUILDING], {ACTIVE.id: VECTOR}
    await Fetch(storage, Budget(100)).run(work)
    await Decode(cast(DecodePool, Renderer()), SERVED).run(work)
    assert work.pixels == {}
