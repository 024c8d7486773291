"""Purging on a real PostgreSQL: what nobody uses goes, what anybody uses stays, whoever is faster."""

from io import BytesIO

import pytest
import structlog

from common.db import embeddings
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.errors import StorageUnavailable, VectorIndexUnavailable
from common.payloads import payload_of
from common.purge import Purge
from common.storage import ObjectStore, thumbnail_key
from common.vectors.base import Collection, Point
from tests.fakes.object_store import MemoryObjectStore
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.rows import (
    activate_model,
    age_tombstones,
    count,
    create_folder,
    delete,
    keep_embeddings,
    new_image,
    record_done,
    unit_vector,
)

CONTENT = b"0123456789"


@pytest.fixture
def storage() -> MemoryObjectStore:
    return MemoryObjectStore()


@pytest.fixture
def purge(database: Database, storage: MemoryObjectStore, index: UnreliableIndex) -> Purge:
    return Purge(database, storage, index)


@pytest.fixture
async def model(database: Database) -> EmbeddingModel:
    return await activate_model(database)


async def store(storage: ObjectStore, image: Image) -> None:
    for key in (image.object_key, thumbnail_key(image.sha256)):
        await storage.put(key, BytesIO(CONTENT), len(CONTENT), "image/png")


async def index_point(index: UnreliableIndex, model: EmbeddingModel, image: Image) -> Collection:
    collection = Collection(model.collection, model.dim)
    await index.ensure(collection)
    await index.upsert(collection, [Point(image.id, unit_vector(), payload_of(image))])
    return collection


async def cached(database: Database, model: EmbeddingModel, image: Image) -> bool:
    async with database.begin() as session:
        return bool(await embeddings.find(session, model.id, [image.sha256]))


async def test_the_last_image_takes_everything_with_it(
    database: Database, storage: MemoryObjectStore, index: UnreliableIndex, purge: Purge, model: EmbeddingModel
) -> None:
    (image,) = await record_done(database, new_image())
    await store(storage, image)
    await keep_embeddings(database, model, [image.sha256])
    collection = await index_point(index, model, image)
    await delete(database, image)
    for _ in range(2):  # twice is as good as once
        await purge.purge(image.id, image.sha256)
        assert storage.objects == {}
        assert await index.fetch(collection, [image.id]) == {}
        assert not await cached(database, model, image)


async def test_bytes_stay_while_another_image_has_them(
    database: Database, storage: MemoryObjectStore, index: UnreliableIndex, purge: Purge, model: EmbeddingModel
) -> None:
    upload = new_image()
    (image,) = await record_done(database, upload)
    (other,) = await record_done(database, new_image(upload.sha256, folder_id=await create_folder(database)))
    await store(storage, image)
    await keep_embeddings(database, model, [image.sha256])
    collection = await index_point(index, model, image)
    await index_point(index, model, other)

    await delete(database, image)
    await purge.purge(image.id, image.sha256)
    assert set(storage.objects) == {image.object_key, thumbnail_key(image.sha256)}
    assert await cached(database, model, image)
    assert set(await index.fetch(collection, [image.id, other.id])) == {other.id}

    await delete(database, other)
    await purge.purge(other.id, other.sha256)
    assert storage.objects == {}
    assert not await cached(database, model, image)


async def test_without_any_model_there_is_no_vector_to_remove(
    database: Database, storage: MemoryObjectStore, index: UnreliableIndex, purge: Purge
) -> None:
    (image,) = await record_done(database, new_image())
    await store(storage, image)
    await delete(database, image)
    await purge.purge(image.id, image.sha256)
    assert storage.objects == {}
    assert index.calls == []


async def test_vectors_go_from_every_collection_that_may_hold_one(
    database: Database, index: UnreliableIndex, purge: Purge, model: EmbeddingModel
) -> None:
    building = EmbeddingModel(
        name="next", pretrained="x", dim=4, preprocess_version=1, state="building", collection="next"
    )
    async with database.begin() as session:
        session.add(building)
    (image,) = await record_done(database, new_image())
    collections = [await index_point(index, each, image) for each in (model, building)]
    await delete(database, image)
    await purge.purge(image.id, image.sha256)
    assert [await index.count(collection) for collection in collections] == [0, 0]


async def test_an_outage_of_the_object_store_loses_nothing_and_the_next_purge_ends_it(
    database: Database, storage: MemoryObjectStore, purge: Purge, model: EmbeddingModel
) -> None:
    (image,) = await record_done(database, new_image())
    await store(storage, image)
    await keep_embeddings(database, model, [image.sha256])
    await delete(database, image)
    storage.fails = lambda key: key.startswith("thumbnail")
    with pytest.raises(StorageUnavailable):
        await purge.purge(image.id, image.sha256)
    assert not await cached(database, model, image), "a vector never outlives its thumbnail"
    storage.fails = lambda _: False
    await purge.purge(image.id, image.sha256)
    assert storage.objects == {}
    assert not await cached(database, model, image)


async def test_try_now_leaves_an_outage_to_the_sweep(
    database: Database, index: UnreliableIndex, storage: MemoryObjectStore, purge: Purge, model: EmbeddingModel
) -> None:
    (image,) = await record_done(database, new_image())
    await store(storage, image)
    await delete(database, image)
    index.down = True
    with structlog.testing.capture_logs() as logs:
        await purge.try_now(image.id, image.sha256)
    assert [(entry["event"], entry["code"]) for entry in logs] == [("purge_postponed", "vector_index_unavailable")]
    index.down = False
    await age_tombstones(database)
    assert await purge.purge_due() == 1
    assert storage.objects == {}
    assert await count(database, "tombstones") == 0


async def test_a_tombstone_stands_until_its_grace_is_over(
    database: Database, storage: MemoryObjectStore, purge: Purge
) -> None:
    early, late = await record_done(database, new_image(), new_image())
    await delete(database, early)
    await age_tombstones(database)
    await delete(database, late)
    await store(storage, early)  # a worker wrote after the first purge
    await store(storage, late)
    assert await purge.purge_due() == 1
    assert set(storage.objects) == {late.object_key, thumbnail_key(late.sha256)}
    assert await purge.purge_due() == 0
    assert await count(database, "tombstones") == 1


async def test_a_tombstone_stands_while_its_purge_fails(
    database: Database, index: UnreliableIndex, purge: Purge, model: EmbeddingModel
) -> None:
    (image,) = await record_done(database, new_image())
    await delete(database, image)
    await age_tombstones(database)
    index.down = True
    with pytest.raises(VectorIndexUnavailable):
        await purge.purge_due()
    assert await count(database, "tombstones") == 1
    index.down = False
    assert await purge.purge_due() == 1


async def test_due_tombstones_are_taken_in_bounded_numbers(database: Database, purge: Purge) -> None:
    for image in await record_done(database, *(new_image() for _ in range(5))):
        await delete(database, image)
    await age_tombstones(database)
    assert [await purge.purge_due(limit=2) for _ in range(4)] == [2, 2, 1, 0]
