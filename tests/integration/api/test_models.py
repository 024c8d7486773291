"""A model change under a running api and worker, with two real models: no search fails, and no page mixes two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from api.settings import ApiSettings
from common.attributes import SearchSettings
from common.db import embedding_models, model_lifecycle, operations, reembeds
from common.db.embedding_models import label
from common.db.engine import Database
from common.status import OperationStatus
from common.vectors.base import VectorIndex
from deploy.local.ports import choose_ports
from tests.fixtures import pictures
from tests.fixtures.services import running_api
from tests.fixtures.uploading import settled, uploaded_ids
from worker import operations as operations_module
from worker.context import WorkerContext

RANDOM = "likeness-demo/random"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers look for operations often."""
    monkeypatch.setattr(operations_module, "_POLL_S", 0.05)


async def fill(database: Database) -> None:
    """Fill the second model's collection."""
    async with database.begin() as session:
        operation = await reembeds.start(session, RANDOM, "tests")
    async with asyncio.timeout(60):
        while operation.status not in {OperationStatus.DONE, OperationStatus.FAILED}:
            await asyncio.sleep(0.05)
            async with database.begin() as session:
                operation = await operations.get(session, operation.id)
    assert (operation.status, operation.result and operation.result["left"]) == ("done", 0), operation.error


async def indexed(client: httpx.AsyncClient, *seeds: int) -> list[str]:
    ids = await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in seeds])
    assert {state["status"] for state in (await settled(client, ids)).values()} == {"done"}
    return ids


@asynccontextmanager
async def searching(client: httpx.AsyncClient, image_id: str) -> AsyncIterator[list[str]]:
    """Search all the time; yields the labels of the models that answered, each search in full."""
    labels: list[str] = []

    async def search() -> None:
        while True:
            for path in (f"/images/{image_id}/similar", "/search/text?q=a+red+circle"):
                response = await client.get(path)
                assert response.status_code == 200, response.text
                labels.append(response.json()["model"])

    task = asyncio.create_task(search())
    try:
        yield labels
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()


async def test_from_one_model_to_another_and_back_while_people_search_and_upload(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    ids = await indexed(client, *range(6))
    async with searching(client, ids[0]) as labels:
        await fill(database)
        ids += await indexed(client, *range(6, 10))
        demo = labels[0]
        assert set(labels) == {demo} != {RANDOM}
        first = (await client.get(f"/images/{ids[0]}/similar", params={"limit": 4})).json()
        async with database.begin() as session:
            assert label((await model_lifecycle.promote(session, RANDOM)).active) == RANDOM
        # What was begun with one model goes on with it, what begins now is the other's.
        cursor = {"cursor": first["next_cursor"]}
        second = (await client.get(f"/images/{ids[0]}/similar", params={"limit": 200, **cursor})).json()
        assert (first["model"], second["model"], second["trial"]) == (demo, demo, False)
        seen = [result["image"]["id"] for page in (first, second) for result in page["results"]]
        assert sorted(seen) == sorted(ids[1:])
        ids += await indexed(client, *range(10, 12))
        similar = (await client.get(f"/images/{ids[0]}/similar", params={"limit": 200})).json()
        assert similar["model"] == RANDOM
        assert {result["image"]["id"] for result in similar["results"]} == set(ids[1:])
        async with database.begin() as session:
            await model_lifecycle.roll_back(session)
        similar = (await client.get(f"/images/{ids[0]}/similar", params={"limit": 200})).json()
        assert similar["model"] == demo
        assert {result["image"]["id"] for result in similar["results"]} == set(ids[1:])
    async with database.begin() as session:
        await model_lifecycle.retire(session, RANDOM)
        assert [label(model) for model in await embedding_models.list_live(session)] == [demo]


async def test_a_model_on_trial_answers_its_share_and_its_pages_and_a_retired_one_none(
    client: httpx.AsyncClient,
    worker: WorkerContext,
    database: Database,
    api_settings: ApiSettings,
    vectors: VectorIndex,
) -> None:
    ids = await indexed(client, *range(4))
    trying = api_settings.model_copy(
        update={
            "search": SearchSettings(trial_share=1),
            "http": api_settings.http.model_copy(update={"port": choose_ports(1)[0]}),
        }
    )
    async with running_api(trying, vectors) as other:
        similar = f"/images/{ids[0]}/similar"
        assert (await other.get(similar)).json()["trial"] is False, "there is none yet"
        await fill(database)
        first = (await other.get(similar, params={"limit": 2})).json()
        assert (first["model"], first["trial"]) == (RANDOM, True)
        assert (await other.get("/search/text?q=a+red+circle")).json()["trial"] is True
        async with database.begin() as session:
            numbers = {"vector": [1.0] * (await embedding_models.list_live(session))[0].dim}
        assert (await other.post("/search", json=numbers)).json()["trial"] is False, "it is the active model's"
        cursor = {"cursor": first["next_cursor"], "limit": 2}
        # The share is of first pages: the next one is the same model's, whoever is asked.
        second = (await client.get(similar, params=cursor)).json()
        assert (second["model"], second["trial"]) == (RANDOM, True)
        assert (await client.get(similar)).json()["trial"] is False
        async with database.begin() as session:
            await model_lifecycle.retire(session, RANDOM)
        stale = await other.get(similar, params=cursor)
        assert (stale.status_code, stale.json()["code"]) == (422, "stale_cursor")
        assert (await other.get(similar)).json()["trial"] is False
