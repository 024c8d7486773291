"""Calibration by a worker, and what searches tell because of it."""

from typing import Any

import httpx

from common.calibration import Measured
from embedder.demo.scenes import Scene
from tests.fixtures.cli import Run
from tests.fixtures.scenes import drawn
from tests.fixtures.uploading import settled, uploaded_ids
from worker.context import WorkerContext

SCENES = [
    Scene(colour, shape, count, "blue")
    for colour in ("red", "green", "yellow")
    for shape in ("circle", "square", "triangle", "star")
    for count in (1, 3)
]


async def search(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    """Search; return the answer, whatever it is."""
    answer: dict[str, Any] = (await client.post("/search", json=query)).json()
    return answer


async def test_what_scores_mean_is_measured(client: httpx.AsyncClient, worker: WorkerContext, run: Run) -> None:
    few = await run("calibrate")
    assert (few.status, few.out) == (1, "")
    assert "0 different images are done, and 20 are needed" in few.err

    ids = [
        (await uploaded_ids(client, drawn(scene, seed), title=scene.caption))[0] for seed, scene in enumerate(SCENES)
    ]
    await settled(client, ids)
    present, absent = SCENES[0].caption, "four white hearts on a black background"
    assert (await search(client, text=absent))["no_good_match"] is False, "nothing is known yet"
    assert (await search(client, text=absent, good_only=True))["code"] == "not_calibrated"

    ran = await run("calibrate", "--json")
    assert ran.status == 0
    measured = Measured.model_validate(ran.data)
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
    shown = (await run("calibrate", "--sample", "20")).out
    assert all(words in shown for words in ("text_match", "measured on 20 images", "80 changed pictures"))
    mixed = await search(client, text=present, image_id=ids[0], good_only=True)
    assert mixed["code"] == "no_threshold"
