"""Searches by examples: sentences, images, vectors, more of the one and less of the other."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from api.settings import ApiSettings
from common.attributes import AttributeKind, SearchSettings
from common.db.engine import Database
from common.settings import QdrantSettings
from common.vectors.factory import create_vector_index
from embedder.demo.scenes import Scene
from tests.fixtures import pictures
from tests.fixtures.rows import create_owner
from tests.fixtures.scenes import drawn
from tests.fixtures.searching import indexed, search
from tests.fixtures.services import running_api, running_worker
from tests.fixtures.uploading import settled, upload, uploaded_ids
from worker.context import WorkerContext
from worker.settings import WorkerSettings

RED_CIRCLE = Scene("red", "circle", 1, "blue")
GREEN_CIRCLE = Scene("green", "circle", 1, "blue")
GREEN_STAR = Scene("green", "star", 1, "blue")


async def refusal(client: httpx.AsyncClient, **query: Any) -> tuple[int, str]:
    """Search; return how that was refused."""
    response = await client.post("/search", json=query)
    return response.status_code, response.json()["code"]


async def test_like_this_one_but_red(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    red, green, star = await indexed(client, RED_CIRCLE, GREEN_CIRCLE, GREEN_STAR)
    other_green = (await indexed(client, Scene("green", "circle", 1, "blue"), tags="twin"))[0]

    assert (await search(client, image_id=green))[0] == other_green
    but_red = {"positive": [{"text": RED_CIRCLE.caption}], "negative": [{"text": GREEN_CIRCLE.caption}]}
    assert (await search(client, image_id=green, **but_red))[0] == red
    # A weight of next to nothing changes next to nothing.
    hardly = {sign: [example | {"weight": 0.001} for example in given] for sign, given in but_red.items()}
    assert (await search(client, image_id=green, **hardly))[0] == other_green
    found = await search(client, positive=[{"image_id": star}, {"image_id": green}])
    assert set(found) == {red, other_green}


async def test_one_example_is_the_plain_search(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    ids = await indexed(client, RED_CIRCLE, GREEN_CIRCLE, GREEN_STAR)
    text = "a green star"
    plain = (await client.get("/search/text", params={"q": text})).json()
    assert (await client.post("/search", json={"text": text})).json() == plain
    similar = (await client.get(f"/images/{ids[0]}/similar")).json()
    assert (await client.post("/search", json={"image_id": ids[0]})).json() == similar

    vector = (await client.get(f"/images/{ids[0]}", params={"include": "embedding"})).json()["embedding"]
    longer = [20 * number for number in vector]
    answer = (await client.post("/search", json={"vector": longer})).json()
    assert answer["results"][0]["image"]["id"] == ids[0]
    assert answer["results"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert answer["results"][1:] == [
        result | {"score": pytest.approx(result["score"], abs=1e-4)} for result in similar["results"]
    ]


async def test_filters_pages_and_least_scores(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    (old,) = await indexed(client, RED_CIRCLE, tags=["a", "b"], category="shoes")
    (new,) = await indexed(client, GREEN_CIRCLE, tags=["b", "c"])
    created = {id_: (await client.get(f"/images/{id_}")).json()["created_at"] for id_ in (old, new)}

    async def passing(**wanted: Any) -> set[str]:
        return set(await search(client, text="a circle", filter=wanted))

    assert await passing() == {old, new}
    assert await passing(tags=["b"]) == {old, new}
    assert await passing(tags=["a", "b"]) == {old}
    assert await passing(any_tags=["a", "c"]) == {old, new}
    assert await passing(any_tags=["a", "c"], category="shoes") == {old}
    assert await passing(created_from=created[new]) == {new}
    assert await passing(created_before=created[new]) == {old}
    assert await passing(created_from=created[old], created_before=created[new], tags=["c"]) == set()

    parameters = {"q": "a circle", "any_tag": ["c"], "created_from": created[new]}
    found = (await client.get("/search/text", params=parameters)).json()["results"]
    assert [result["image"]["id"] for result in found] == [new]

    first = (await client.post("/search", json={"text": "a circle", "limit": 1})).json()
    second = (
        await client.post("/search", json={"text": "a circle", "limit": 1, "cursor": first["next_cursor"]})
    ).json()
    pages = [page["results"][0]["image"]["id"] for page in (first, second)]
    assert (set(pages), second["next_cursor"]) == ({old, new}, None)
    between = (first["results"][0]["score"] + second["results"][0]["score"]) / 2
    assert await search(client, text="a circle", min_score=between) == pages[:1]


async def test_what_can_not_be_searched_for(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    (id_,) = await indexed(client, RED_CIRCLE)
    (broken,) = await uploaded_ids(client, pictures.hostile()["jpeg cut in half"].data)
    await settled(client, [broken])
    vector = (await client.get(f"/images/{id_}", params={"include": "embedding"})).json()["embedding"]

    assert await refusal(client, image_id=str(uuid4())) == (404, "image_not_found")
    assert await refusal(client, text="a", negative=[{"image_id": broken}]) == (409, "image_not_indexed")
    assert await refusal(client, text=" ") == (422, "empty_query")
    assert await refusal(client, vector=vector[:-1]) == (422, "wrong_dimension")
    assert await refusal(client, vector=[0.0] * len(vector)) == (422, "vector_without_direction")
    assert await refusal(client, image_id=id_, negative=[{"vector": vector}]) == (422, "examples_cancel_out")
    assert await refusal(client, text="a", cursor="x") == (422, "invalid_cursor")


async def test_somebody_elses_image_is_no_image_whatever_else_is_wrong(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    mine, theirs = await indexed(client, RED_CIRCLE, GREEN_STAR)
    owner_id, folder_id = await create_owner(database)
    async with database.begin() as session:
        given = text("UPDATE images SET owner_id = :owner, folder_id = :folder WHERE id = :id")
        await session.execute(given, {"owner": owner_id, "folder": folder_id, "id": theirs})
        failed = text("UPDATE images SET status = 'error', error_code = 'x' WHERE id = :id")
        await session.execute(failed, {"id": mine})
    for id_ in (theirs, str(uuid4())):
        others: list[dict[str, Any]] = [
            {},
            {"good_only": True},
            {"negative": [{"image_id": id_}]},
            {"positive": [{"vector": [1.0]}]},
            {"positive": [{"image_id": mine}]},
        ]
        answers = [await refusal(client, image_id=id_, **other) for other in others]
        assert answers == [(404, "image_not_found")] * len(others)
    assert await refusal(client, image_id=mine, good_only=True) == (409, "image_not_indexed")


async def test_before_there_is_a_model_nothing_is_indexed(client: httpx.AsyncClient) -> None:
    assert await refusal(client, vector=[1.0]) == (409, "nothing_indexed")
    assert await refusal(client, image_id=str(uuid4())) == (404, "image_not_found")


@asynccontextmanager
async def declaring(
    attributes: dict[str, AttributeKind], settings: ApiSettings, worker_settings: WorkerSettings, folder: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """Run api and worker with these attributes declared."""
    index = create_vector_index(QdrantSettings(path=folder / "vectors"), attributes)
    declared = settings.model_copy(update={"search": SearchSettings(attributes=attributes)})
    async with running_worker(worker_settings, index), running_api(declared, index) as client:
        yield client
    await index.close()


async def test_attributes_are_filtered_by(
    api_settings: ApiSettings, worker_settings: WorkerSettings, tmp_path: Path
) -> None:
    """Edits follow, and an attribute may be declared when images have it already."""
    attributes = {RED_CIRCLE: {"price": 80, "brand": "acme"}, GREEN_CIRCLE: {"price": 120, "brand": "other"}}
    cheap = {"price": {"lte": 100}}
    declared = {"price": AttributeKind.NUMBER}
    async with declaring(declared, api_settings, worker_settings, tmp_path) as client:
        first, second = [
            (await indexed(client, scene, attributes=json.dumps(values)))[0] for scene, values in attributes.items()
        ]
        assert await search(client, text="a circle", filter={"attributes": cheap}) == [first]
        parameters = {"q": "a circle", "attributes": json.dumps(cheap)}
        found = (await client.get("/search/text", params=parameters)).json()["results"]
        assert [result["image"]["id"] for result in found] == [first]
        assert await refusal(client, text="a", filter={"attributes": {"brand": "acme"}}) == (422, "unknown_attribute")
        edited = await client.patch(f"/images/{second}", json={"attributes": {"price": 99.5, "brand": "other"}})
        assert edited.status_code == 200
        assert set(await search(client, text="a circle", filter={"attributes": cheap})) == {first, second}
        edited = await client.patch(f"/images/{second}", json={"attributes": {"price": "12"}})
        assert (edited.status_code, edited.json()["code"]) == (422, "invalid_attribute")
        refused = await upload(client, drawn(GREEN_STAR, 1), attributes='{"price": "12"}')
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_attribute")

    declared |= {"brand": AttributeKind.KEYWORD}
    async with declaring(declared, api_settings, worker_settings, tmp_path) as client:
        wanted = {"attributes": {"brand": ["acme", "nobody"], "price": {"gt": 0}}}
        assert await search(client, text="a circle", filter=wanted) == [first]
