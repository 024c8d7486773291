"""Calibration by a worker, and what searches tell because of it."""

import asyncio
from typing import Any

import httpx

from common.db import operations
from common.db.engine import Database
from common.db.models import Operation
from common.db.operations import CALIBRATE, NewOperation
from common.status import OperationStatus
from embedder.demo.scenes import Scene
from tests.fixtures.scenes import drawn
from tests.fixtures.uploading import settled, uploaded_ids
from worker.calibration import Measured
from worker.context import WorkerContext

SCENES = [
    Scene(colour, shape, count, "blue")
    for colour in ("red", "green", "yellow")
    for shape in ("circle", "square", "triangle", "star")
    for count in (1, 3)
]


async def calibrated(database: Database) -> Operation:
    """Have the workers calibrate the model; return the operation when it has ended."""
    wanted = NewOperation(CALIBRATE, "test", {})
    async with database.begin() as session:
        await operations.start(session, wanted)
    async with asyncio.timeout(120):
        while True:
            async with database.begin() as session:
                found = await operations.get(session, wanted.id)
            if found.status in {OperationStatus.DONE, OperationStatus.FAILED}:
                return found
            await asyncio.sleep(0.1)


async def search(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    """Search; return the answer, whatever it is."""
    answer: dict[str, Any] = (await client.post("/search", json=query)).json()
    return answer


async def test_what_scores_mean_is_measured(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    few = await calibrated(database)
    assert few.result == {"problem": "0 different images are done, and 20 are needed"}

    ids = [
        (await uploaded_ids(client, drawn(scene, seed), title=scene.caption))[0] for seed, scene in enumerate(SCENES)
    ]
    await settled(client, ids)
    present, absent = SCENES[0].caption, "four white hearts on a black background"
    assert (await search(client, text=absent))["no_good_match"] is False, "nothing is known yet"
    assert (await search(client, text=absent, good_only=True))["code"] == "not_calibrated"

    ended = await calibrated(database)
    assert (ended.status, ended.error) == (OperationStatus.DONE, None)
    measured = Measured.model_validate(ended.result)
    assert (measured.images, measured.titles, measured.variants) == (len(SCENES), len(SCENES), 4 * len(SCENES))
    assert measured.variants_found > 0.8

    found = await search(client, text=present, good_only=True)
    assert found["results"][0]["image"]["id"] == ids[0]
    assert 0 < len(found["results"]) < len(SCENES) / 2
    assert found["no_good_match"] is False
    nothing = await search(client, text=absent, good_only=True)
    assert (nothing["results"], nothing["no_good_match"]) == ([], True)
    nearest = await search(client, text=absent, limit=5)
    assert (len(nearest["results"]), nearest["no_good_match"]) == (5, True)
    second = await search(client, text=absent, limit=5, cursor=nearest["next_cursor"])
    assert (len(second["results"]), second["no_good_match"]) == (5, False), "told with the first page"
    similar = (await client.get(f"/images/{ids[0]}/similar", params={"good_only": True})).json()["results"]
    assert all(result["score"] >= measured.thresholds.similar for result in similar)
    mixed = await search(client, text=present, image_id=ids[0], good_only=True)
    assert mixed["code"] == "no_threshold"
