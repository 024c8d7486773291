"""Tagging and moderation with the demo model, from upload to search."""

import json
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from common.db import lifecycle
from common.db.attempts import Fence
from common.db.engine import Database
from common.vectors.base import VectorIndex
from embedder.demo.scenes import Scene
from tests.fixtures.rows import load
from tests.fixtures.searching import indexed, search
from tests.fixtures.services import running_worker
from tests.fixtures.uploading import settled
from worker import context
from worker.context import WorkerContext
from worker.settings import WorkerSettings
from worker.zero_shot import moderation, tagging

RED = Scene("red", "circle", 1, "blue")
STAR = Scene("green", "star", 1, "white")
CROSS = Scene("black", "cross", 1, "white")
ANYTHING = "a picture"


@pytest.fixture
async def labelling(
    worker_settings: WorkerSettings, vectors: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerContext]:
    """A worker with both extensions: it tags by shape and colour, and finds black crosses improper."""
    tags = {"circle": ["a circle", "a red circle"], "star": ["a star", "a green star"], "red": "red shapes"}
    monkeypatch.setenv("TAGGING__LABELS", json.dumps(tags))
    monkeypatch.setenv("MODERATION__LABELS", json.dumps({"black cross": "a black cross"}))
    monkeypatch.setattr(context, "load_extensions", lambda: [moderation.extension, tagging.extension])
    async with running_worker(worker_settings, vectors) as opened:
        yield opened


async def seen(client: httpx.AsyncClient, image_id: str) -> list[tuple[str, str]]:
    shown = (await client.get(f"/images/{image_id}")).json()["labels"]
    assert all(0.9 <= each["score"] <= 1 for each in shown)
    return sorted((each["source"], each["label"]) for each in shown)


async def test_images_are_tagged_and_found_by_label(client: httpx.AsyncClient, labelling: WorkerContext) -> None:
    red, star = await indexed(client, RED, STAR, tags="mine")
    assert await seen(client, red) == [("tagging", "circle"), ("tagging", "red")]
    assert await seen(client, star) == [("tagging", "star")]
    assert (await client.get(f"/images/{red}")).json()["tags"] == ["mine"], "a person's tags are another matter"
    assert await search(client, text=ANYTHING, filter={"labels": ["star"]}) == [star]
    assert await search(client, text=ANYTHING, filter={"labels": ["red", "circle"]}) == [red]
    assert await search(client, text=ANYTHING, filter={"labels": ["red", "star"]}) == []
    found = (await client.get("/search/text", params={"q": ANYTHING, "label": ["red", "circle"]})).json()["results"]
    assert [result["image"]["id"] for result in found] == [red]


async def test_hidden_images_are_found_by_those_who_ask_for_them(
    client: httpx.AsyncClient, labelling: WorkerContext, database: Database
) -> None:
    red, star, cross = await indexed(client, RED, STAR, CROSS)

    async def found(**wanted: bool) -> set[str]:
        return set(await search(client, text=ANYTHING, filter=wanted))

    assert ("moderation", "black cross") in await seen(client, cross)
    assert await found() == {red, star}
    assert await found(include_hidden=True) == {red, star, cross}
    found_by_text = (await client.get("/search/text", params={"q": CROSS.caption, "include_hidden": True})).json()
    assert found_by_text["results"][0]["image"]["id"] == cross
    assert found_by_text["results"][0]["image"]["visibility"] == "hidden"
    listed = (await client.get("/images")).json()["images"]
    assert {image["id"]: image["visibility_by"] for image in listed} == {red: None, star: None, cross: "moderation"}

    for image_id, visibility in ((cross, "visible"), (star, "hidden")):
        edited = await client.patch(f"/images/{image_id}", json={"visibility": visibility})
        assert (edited.json()["visibility"], edited.json()["visibility_by"]) == (visibility, "owner")
    assert await found() == {red, cross}
    await run_again(client, database, star, cross)
    assert await found() == {red, cross}, "what the owner decides, stays"

    async with database.begin() as session:  # hidden just now, and the index does not know yet
        await session.execute(
            text("UPDATE images SET visibility = 'hidden', visibility_by = 'owner' WHERE id = :id"), {"id": red}
        )
    assert await found() == {cross}


async def run_again(client: httpx.AsyncClient, database: Database, *ids: str) -> None:
    """Have the pipeline process images once more."""
    rows = [await load(database, UUID(id_)) for id_ in ids]
    async with database.begin() as session:
        fences = [Fence(row.id, row.attempt) for row in rows]
        assert len(await lifecycle.redo(session, fences, "tests", "again")) == len(ids)
        await session.execute(text("UPDATE images SET next_run_at = now() - interval '1 minute'"))
    assert {state["status"] for state in (await settled(client, list(ids))).values()} == {"done"}
    assert [(await load(database, row.id)).attempt for row in rows] == [row.attempt + 1 for row in rows]
