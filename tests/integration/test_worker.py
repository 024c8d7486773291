"""The whole way of an image through real stores, a real worker and the real demo model."""

import asyncio
import hashlib
from io import BytesIO
from uuid import UUID

import httpx
import pytest
from PIL import Image
from sqlalchemy import text

from api.settings import ApiSettings
from common.db import lifecycle
from common.db.attempts import LEASE
from common.db.engine import Database
from common.storage import S3ObjectStore, object_key
from common.vectors.base import VectorIndex
from embedder.demo.scenes import Scene
from tests.fixtures import pictures
from tests.fixtures.scenes import drawn
from tests.fixtures.uploading import settled, upload, uploaded_ids
from worker.context import WorkerContext, open_worker
from worker.settings import WorkerSettings

RED_ON_BLUE = Scene("red", "circle", 1, "blue")
OTHERS = [
    Scene("green", "star", 3, "white"),
    Scene("yellow", "triangle", 2, "black"),
    Scene("blue", "square", 1, "pink"),
]


async def test_from_upload_to_found(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    wanted = [drawn(RED_ON_BLUE, seed) for seed in range(3)]
    others = [drawn(scene, seed) for scene in OTHERS for seed in range(3)]
    wanted_ids = await uploaded_ids(client, *wanted, category="circle", tags="demo")
    other_ids = await uploaded_ids(client, *others, tags=["demo", "other"])
    states = await settled(client, wanted_ids + other_ids)
    assert {state["status"] for state in states.values()} == {"done"}

    shown = (await client.get(f"/images/{wanted_ids[0]}", params={"include": "embedding,events"})).json()
    assert [event["to_status"] for event in shown["events"]] == ["created", "pending", "embedding", "indexing", "done"]
    assert sum(value**2 for value in shown["embedding"]) == pytest.approx(1, abs=1e-4)
    assert shown["indexed_at"] is not None

    similar = (await client.get(shown["links"]["similar"], params={"limit": 2})).json()
    assert {result["image"]["id"] for result in similar["results"]} == set(wanted_ids[1:])
    assert similar["model"] == shown["model"]
    assert 1 >= similar["results"][0]["score"] >= similar["results"][1]["score"]

    found = (await client.get("/search/text", params={"q": RED_ON_BLUE.caption, "limit": 3})).json()
    assert {result["image"]["id"] for result in found["results"]} == set(wanted_ids)
    found = (await client.get("/search/text", params={"q": RED_ON_BLUE.caption, "tag": "other"})).json()
    assert {result["image"]["id"] for result in found["results"]} == set(other_ids)
    files = {"file": ("query.png", drawn(RED_ON_BLUE, 99), "image/png")}
    found = (await client.post("/search/image", params={"limit": 3}, files=files)).json()
    assert {result["image"]["id"] for result in found["results"]} == set(wanted_ids)


async def test_similar_pages_without_gaps_and_never_shows_the_query(
    client: httpx.AsyncClient, worker: WorkerContext
) -> None:
    ids = await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in range(12)])
    await settled(client, ids)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(f"/images/{ids[0]}/similar", params={"limit": "4", **cursor})).json()
        seen += [result["image"]["id"] for result in page["results"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == sorted(ids[1:])
    every = (await client.get(f"/images/{ids[0]}/similar", params={"limit": 200})).json()["results"]
    assert [result["image"]["id"] for result in every] == seen
    between = (every[2]["score"] + every[3]["score"]) / 2
    some = (await client.get(f"/images/{ids[0]}/similar", params={"min_score": between})).json()["results"]
    assert [result["image"]["id"] for result in some] == seen[:3]


@pytest.mark.parametrize(
    "name",
    sorted(name for name, file in pictures.hostile().items() if file.code in {"image_truncated", "image_corrupt"}),
)
async def test_what_fails_decoding_ends_in_a_visible_error(
    client: httpx.AsyncClient, worker: WorkerContext, name: str
) -> None:
    data, code = pictures.hostile()[name]
    response = await upload(client, data, pictures.jpeg(seed=1))
    rejected = {item["code"] for item in response.json()["rejected"]}
    ids = [image["id"] for image in response.json()["images"]]
    states = await settled(client, ids)
    failed = [state["error"]["code"] for state in states.values() if state["status"] == "error"]
    assert (rejected or set(failed)) == {code}
    assert states[ids[-1]]["status"] == "done", "a bad neighbour does no harm"


async def test_a_failed_image_can_be_requeued_by_its_owner(
    client: httpx.AsyncClient, worker: WorkerContext, api_settings: ApiSettings
) -> None:
    data = pictures.hostile()["jpeg cut in half"].data
    (image_id,) = await uploaded_ids(client, data)
    assert (await settled(client, [image_id]))[image_id]["status"] == "error"
    response = await client.post(f"/images/{image_id}/requeue")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    await settled(client, [image_id])
    shown = (await client.get(f"/images/{image_id}?include=events")).json()
    assert shown["attempt"] == 2
    assert [event["to_status"] for event in shown["events"]][-3:] == ["pending", "embedding", "error"]
    (good,) = await uploaded_ids(client, pictures.jpeg(seed=2))
    await settled(client, [good])
    response = await client.post(f"/images/{good}/requeue")
    assert (response.status_code, response.json()["code"]) == (409, "image_not_failed")


async def test_edits_reach_the_filters_of_searches(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    ids = await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in range(3)])
    await settled(client, ids)
    response = await client.patch(f"/images/{ids[1]}", json={"category": "shoes", "tags": ["brown"], "title": "Oxford"})
    assert response.status_code == 200
    assert (response.json()["title"], response.json()["category"]) == ("Oxford", "shoes")
    for wanted in ({"category": "shoes"}, {"tag": "brown"}):
        found = (await client.get(f"/images/{ids[0]}/similar", params=wanted)).json()["results"]
        assert [result["image"]["id"] for result in found] == [ids[1]]
    assert (await client.patch(f"/images/{ids[1]}", json={"category": None})).json()["category"] is None
    assert (await client.get(f"/images/{ids[0]}/similar", params={"category": "shoes"})).json()["results"] == []
    assert (await client.get(f"/images/{ids[1]}")).json()["title"] == "Oxford", "what is left out stays"


async def test_a_deleted_image_is_gone_everywhere(
    client: httpx.AsyncClient, worker: WorkerContext, api_settings: ApiSettings
) -> None:
    data = pictures.jpeg(seed=20)
    ids = await uploaded_ids(client, data, pictures.jpeg(seed=21))
    await settled(client, ids)
    assert (await client.delete(f"/images/{ids[0]}")).status_code == 204
    for path in ("", "/content", "/thumbnail", "/similar"):
        assert (await client.get(f"/images/{ids[0]}{path}")).status_code == 404
    assert (await client.delete(f"/images/{ids[0]}")).status_code == 404
    assert (await client.get(f"/images/{ids[1]}/similar")).json()["results"] == []
    store = S3ObjectStore(api_settings.s3)
    assert await store.find(object_key(hashlib.sha256(data).hexdigest())) is None
    await store.close()
    (again,) = await uploaded_ids(client, data)
    assert (await settled(client, [again]))[again]["status"] == "done", "the same bytes may come again"


async def test_nothing_is_lost_when_no_hint_arrives(
    client: httpx.AsyncClient, database: Database, worker_settings: WorkerSettings, vectors: VectorIndex
) -> None:
    ids = await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in range(5)])
    async with database.begin() as session:  # one more, whose worker has died
        await session.execute(text("UPDATE images SET next_run_at = now() - interval '1 minute'"))
        await lifecycle.claim(session, [UUID(ids[0])], "dead", LEASE * -1)
    async with open_worker(worker_settings, vectors) as context:
        sweeping = asyncio.create_task(context.sweeper.run())
        states = await settled(client, ids)
        sweeping.cancel()
        await asyncio.wait([sweeping])
    assert {state["status"] for state in states.values()} == {"done"}


async def test_the_same_bytes_are_never_embedded_twice(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    data = pictures.jpeg(seed=30)
    (first,) = await uploaded_ids(client, data)
    await settled(client, [first])
    folder = "7c1f0f0e-0000-4000-8000-000000000009"
    async with database.begin() as session:
        await session.execute(
            text("INSERT INTO folders (id, owner_id, name) SELECT :id, id, 'second' FROM users"), {"id": folder}
        )
    (second,) = await uploaded_ids(client, data, folder_id=folder)
    assert first != second
    await settled(client, [second])
    async with database.begin() as session:
        assert await session.scalar(text("SELECT count(*) FROM embeddings")) == 1
    similar = (await client.get(f"/images/{first}/similar", params={"folder_id": folder})).json()["results"]
    assert [(result["image"]["id"], round(result["score"], 3)) for result in similar] == [(second, 1.0)]
    # The bytes stay while one of the two has them.
    assert (await client.delete(f"/images/{first}")).status_code == 204
    assert (await client.get(f"/images/{second}/content")).content == data


async def test_thumbnails_are_small_pictures(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(1200, 800))
    await settled(client, [image_id])
    response = await client.get(f"/images/{image_id}/thumbnail")
    assert response.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(response.content)).size == (512, 341)
    part = await client.get(f"/images/{image_id}/thumbnail", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    cached = await client.get(f"/images/{image_id}/thumbnail", headers={"If-None-Match": response.headers["etag"]})
    assert (cached.status_code, cached.content) == (304, b"")
