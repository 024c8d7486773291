"""A vector index that is lost is rebuilt from PostgreSQL: no model is called, and every image is found again."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import AsyncQdrantClient
from sqlalchemy import text

from common.db import operations
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, Image
from common.db.operations import AUDIT, NewOperation
from common.embedder_client import EmbedderClient
from common.errors import EmbedderUnavailable
from common.settings import EmbedderClientSettings, QdrantSettings
from common.vectors.base import ROUNDING, Collection, Filter, VectorIndex
from common.vectors.factory import create_vector_index
from common.vectors.qdrant import QdrantIndex
from tests.fakes.qdrant_server import QdrantServer
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures import pictures
from tests.fixtures.auditing import Collected, fixed, vector_of
from tests.fixtures.sweeping import AT_ONCE, FOREVER_S
from tests.fixtures.uploading import settled, uploaded_ids
from worker.audit import walk
from worker.audit.report import Mismatch
from worker.context import WorkerContext
from worker.leases import Leases
from worker.moves import Moves
from worker.pipeline import Pipeline
from worker.served import ServedModels
from worker.stages.embed import Embed
from worker.stages.index import Index
from worker.sweeper import Sweeper
from worker.work import Stage

IMAGES = 150


class NoModel(EmbedderClient):
    """An embedder that must not be called."""

    def __init__(self) -> None:
        super().__init__(EmbedderClientSettings())
        self.asked = 0

    async def encode_pixels(self, images: Sequence[NDArray[np.uint8]], **_: Any) -> list[NDArray[np.float32]]:
        self.asked += len(images)
        raise EmbedderUnavailable("there is no model")


def sweeper(collected: Collected, model: EmbedderClient) -> Sweeper:
    """A worker that goes on with whatever is due, on the real stages from `embed` on."""
    moves = Moves(collected.database, "working")
    stages: list[Stage] = [Embed(ServedModels(model), moves, 16), Index(collected.index)]
    pipeline = Pipeline(stages, moves, Leases(moves), images_in_flight=4)
    return Sweeper(collected.database, collected.storage, collected.index, pipeline, interval_s=FOREVER_S)


async def finds_itself(collected: Collected, image: Image) -> bool:
    wanted = Filter(LOCAL_OWNER_ID, category="shoes")
    best, *_ = await collected.index.query(collected.collection, vector_of(image), filter=wanted, limit=1)
    return best.score == pytest.approx(1, abs=ROUNDING)


@pytest.mark.parametrize("loss", ["emptied", "deleted"])
async def test_a_lost_collection_is_rebuilt_without_any_model(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.setattr(walk, "PAGE", 64)  # several pages
    images = await collected.add(IMAGES, category="shoes")
    if loss == "emptied":
        await collected.index.delete(collected.collection, [image.id for image in images])
    else:
        await collected.index.close()
        shutil.rmtree(tmp_path / "vectors" / collected.model.collection)
        collected.index = UnreliableIndex(create_vector_index(QdrantSettings(path=tmp_path / "vectors")))
    model = NoModel()
    report = await collected.audit(fix=True)
    await sweeper(collected, model).resume(overdue=AT_ONCE)

    assert (fixed(report), report.left) == ({Mismatch.VECTOR_MISSING: IMAGES}, 0)
    assert model.asked == 0
    assert await collected.points() == sorted(image.id for image in images)
    assert all([await finds_itself(collected, image) for image in images])
    async with collected.database.begin() as session:
        assert await session.scalar(text("SELECT count(*) FROM images WHERE status <> 'done' OR attempt > 1")) == 0
    assert (await collected.audit()).found == 0
    await collected.index.close()


async def test_a_server_that_lost_a_collection_it_was_known_to_have_gets_it_back(collected: Collected) -> None:
    app = httpx.ASGITransport(QdrantServer().app())
    client = AsyncQdrantClient(url="http://qdrant.test", check_compatibility=False, transport=app)
    collected.index = UnreliableIndex(QdrantIndex(client, timeout_s=60))
    images = await collected.add(150, category="shoes")
    await client.delete_collection(collected.model.collection)
    operation = await collected.operate(NewOperation(AUDIT, "tests", {"fix": True}))
    assert operation.attempt == 2, "the first one is told by the server"
    assert await collected.points() == sorted(image.id for image in images)
    assert all([await finds_itself(collected, image) for image in images[:10]])
    await collected.index.close()


async def test_a_running_worker_rebuilds_what_searches_lost(
    client: httpx.AsyncClient,
    worker: WorkerContext,
    vectors: VectorIndex,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole way, with real pictures and the real model, which is gone when the vectors are."""
    ids = await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in range(6)])
    await settled(client, ids)
    similar = f"/images/{ids[0]}/similar"
    before = (await client.get(similar)).json()["results"]
    async with database.begin() as session:
        name, dim = (await session.execute(text("SELECT collection, dim FROM embedding_models"))).one()
    collection = Collection(name, dim)
    await vectors.delete(collection, await vectors.scroll(collection, limit=100))
    monkeypatch.setattr(worker.embedder, "encode_pixels", NoModel().encode_pixels)

    async with database.begin() as session:
        operation_id = await operations.start(session, NewOperation(AUDIT, "tests", {"fix": True}))
    async with asyncio.timeout(60):
        while True:
            async with database.begin() as session:
                ended = await operations.get(session, operation_id)
            if ended.status == "done":
                break
            await asyncio.sleep(0.1)
    assert ended.result is not None
    assert ended.result["mismatches"]["vector_missing"]["fixed"] == 6
    after = (await client.get(similar)).json()["results"]
    assert [result["image"]["id"] for result in after] == [result["image"]["id"] for result in before]
    assert [result["score"] for result in after] == pytest.approx([result["score"] for result in before], abs=ROUNDING)
