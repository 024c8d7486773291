"""The embedding cache: vectors come back bit by bit, by hash and model, and the first one saved stays."""

import asyncio

import numpy as np
import pytest

from common.db import embedding_models, embeddings
from common.db.engine import Database
from common.db.models import EmbeddingModel
from tests.fixtures.rows import activate_model, unit_vector


@pytest.fixture
async def model(database: Database) -> EmbeddingModel:
    return await activate_model(database)


async def test_vectors_come_back_as_they_were(database: Database, model: EmbeddingModel) -> None:
    vectors = {"a" * 64: unit_vector(1), "b" * 64: np.array([1e-38, -0.0, 1, 3.4e38], dtype=np.float32)}
    async with database.begin() as session:
        await embeddings.save(session, model.id, vectors)
    async with database.begin() as session:
        found = await embeddings.find(session, model.id, [*vectors, "c" * 64])
    assert found.keys() == vectors.keys()
    for sha256, vector in vectors.items():
        assert found[sha256].dtype == np.float32
        assert found[sha256].tobytes() == vector.tobytes()


async def test_vectors_are_kept_little_endian(database: Database, model: EmbeddingModel) -> None:
    vector = unit_vector(1)
    async with database.begin() as session:
        await embeddings.save(session, model.id, {"a": np.asarray(vector, dtype=">f4")})
        assert np.array_equal((await embeddings.find(session, model.id, ["a"]))["a"], vector)


async def test_the_first_vector_of_some_bytes_stays(database: Database, model: EmbeddingModel) -> None:
    for seed in (1, 2):
        async with database.begin() as session:
            await embeddings.save(session, model.id, {"a": unit_vector(seed), str(seed): unit_vector(seed)})
    async with database.begin() as session:
        found = await embeddings.find(session, model.id, ["a", "1", "2"])
    assert np.array_equal(found["a"], unit_vector(1))
    assert np.array_equal(found["2"], unit_vector(2))


async def test_workers_that_save_the_same_at_once_do_not_deadlock(database: Database, model: EmbeddingModel) -> None:
    hashes = [f"{number:064}" for number in range(50)]

    async def save(order: list[str]) -> None:
        async with database.begin() as session:
            await embeddings.save(session, model.id, {sha256: unit_vector() for sha256 in order})

    await asyncio.gather(*(save(order) for _ in range(10) for order in (hashes, hashes[::-1])))
    async with database.begin() as session:
        assert len(await embeddings.find(session, model.id, hashes)) == 50


async def test_models_do_not_mix(database: Database, model: EmbeddingModel) -> None:
    other = EmbeddingModel(
        name="other", pretrained="tests", dim=4, preprocess_version=1, state="building", collection="other"
    )
    async with database.begin() as session:
        session.add(other)
        await session.flush()
        await embeddings.save(session, model.id, {"a": unit_vector(1)})
        await embeddings.save(session, other.id, {"a": unit_vector(2)})
        assert np.array_equal((await embeddings.find(session, other.id, ["a"]))["a"], unit_vector(2))
        assert await embeddings.find(session, other.id + 1, ["a"]) == {}
        assert {row.id for row in await embedding_models.list_all(session)} == {model.id, other.id}


async def test_nothing_asked_nothing_found(database: Database, model: EmbeddingModel) -> None:
    async with database.begin() as session:
        await embeddings.save(session, model.id, {})
        assert await embeddings.find(session, model.id, []) == {}
