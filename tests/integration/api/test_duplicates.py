"""Duplicates over HTTP: found after an upload, in tiers and pages, dismissed and taken back."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import ImageEnhance
from sqlalchemy import text

from common.db import duplicates
from common.db.duplicates import GroupKey
from common.db.engine import Database
from common.duplicates import Tier
from common.errors import NotFound
from common.imaging import ImageFormat
from tests.fixtures import pictures
from tests.fixtures.rows import create_folder, create_owner
from tests.fixtures.searching import search
from tests.fixtures.uploading import settled, uploaded_ids
from worker.context import WorkerContext
from worker.duplicates import loop

PICTURE = pictures.picture(320, 240, seed=5)
ORIGINAL = pictures.encode(PICTURE, ImageFormat.JPEG)
SMALLER = pictures.encode(PICTURE.resize((160, 120)), ImageFormat.WEBP)
BRIGHTER = pictures.encode(ImageEnhance.Brightness(PICTURE).enhance(1.05), ImageFormat.PNG)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers compare at once what has arrived."""
    monkeypatch.setattr(loop, "_QUIET_S", 0.05)


async def compared(client: httpx.AsyncClient, database: Database, *files: bytes, **fields: Any) -> list[str]:
    """Upload files; return their ids when their duplicates have been looked for."""
    ids = await uploaded_ids(client, *files, **fields)
    await settled(client, ids)
    async with asyncio.timeout(60):
        while True:
            async with database.begin() as session:
                left = await session.scalar(text("SELECT count(*) FROM images WHERE compared_by = 0"))
            if not left:
                return ids
            await asyncio.sleep(0.05)


async def groups(client: httpx.AsyncClient, tier: str, **wanted: Any) -> list[dict[str, Any]]:
    response = await client.get("/duplicates", params={"tier": tier, **wanted})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["groups"]
    return found


def members(group: dict[str, Any]) -> set[str]:
    assert group["count"] == len(group["members"])
    return {member["image"]["id"] for member in group["members"]}


async def answer(client: httpx.AsyncClient, method: str, group: str, **more: Any) -> tuple[int, str | None]:
    response = await client.request(method, f"/duplicates/{group}/dismiss", **more)
    return response.status_code, response.json()["code"] if response.content else None


async def test_searches_can_show_one_of_each_group(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    *alike, _ = await compared(client, database, ORIGINAL, SMALLER, pictures.jpeg(seed=6))
    assert len(await search(client, text="a picture")) == 3
    found = await search(client, text="a picture", ranking={"one_per_group": True})
    assert (len(found), len(set(found) & set(alike))) == (2, 1)


async def test_tiers_are_apart_and_a_dismissal_is_remembered(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    folder = str(await create_folder(database))
    (original, _) = await compared(client, database, ORIGINAL, pictures.jpeg(seed=6))
    (copy,) = await compared(client, database, ORIGINAL, folder_id=folder)
    (smaller,) = await compared(client, database, SMALLER)

    (exact,) = await groups(client, "exact")
    assert members(exact) == {original, copy}
    assert {(member["score"], member["distance"]) for member in exact["members"]} == {(1, 0)}
    (near,) = await groups(client, "near")
    assert members(near) == {original, copy, smaller}
    assert near["members"][1]["distance"] <= 8
    assert 0.75 <= near["members"][1]["score"] < 1
    assert await groups(client, "similar") == []
    for wanted in ({"folder_id": folder}, {"folder_id": near["members"][0]["image"]["folder_id"]}):
        assert [group["id"] for group in await groups(client, "near", **wanted)] == [near["id"]]
        assert [group["id"] for group in await groups(client, "exact", **wanted)] == [exact["id"]]
    assert await groups(client, "near", folder_id=uuid4()) == await groups(client, "exact", folder_id=uuid4()) == []
    async with database.begin() as session:
        mine = await duplicates.find_groups(session, [UUID(id_) for id_ in (original, copy, smaller)])
    assert set(mine.values()) == {UUID(near["id"].removeprefix("near-"))}

    seen = {"json": {"image_ids": [original, copy]}}
    assert await answer(client, "POST", near["id"], **seen) == (409, "group_changed")
    assert await answer(client, "POST", exact["id"], **seen) == (204, None)
    assert await answer(client, "POST", near["id"]) == (204, None)
    assert await answer(client, "POST", near["id"]) == (204, None), "once more changes nothing"
    assert await groups(client, "near") == await groups(client, "exact") == []
    async with database.begin() as session:
        mine = await duplicates.find_groups(session, [UUID(id_) for id_ in (original, copy, smaller)])
    assert len(set(mine.values())) == 2, "copies only"

    (brighter,) = await compared(client, database, BRIGHTER)
    (third,) = await compared(client, database, ORIGINAL, folder_id=str(await create_folder(database)))
    assert [members(group) for group in await groups(client, "exact")] == [{original, copy, third}]
    (again,) = await groups(client, "near")
    assert members(again) == {original, copy, third, smaller, brighter}, "a new one is shown with all that are like it"
    assert again["members"][0]["image"]["id"] == brighter

    assert await answer(client, "POST", again["id"]) == (204, None)
    assert await groups(client, "near") == []
    for group in (near["id"], again["id"]):
        assert await answer(client, "DELETE", group) == (204, None)
    assert {member for group in await groups(client, "near") for member in members(group)} >= {smaller, brighter}
    assert await answer(client, "DELETE", near["id"]) == (404, "group_not_found")

    for id_ in (copy, third):
        await client.delete(f"/images/{id_}")
    assert await groups(client, "exact") == []


async def test_pages_show_every_group_once(
    client: httpx.AsyncClient, worker: WorkerContext, database: Database
) -> None:
    files = [pictures.jpeg(seed=seed) for seed in range(5)]
    folder = str(await create_folder(database))
    first = await compared(client, database, *files)
    second = await compared(client, database, *files, folder_id=folder)
    seen: list[set[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/duplicates", params={"limit": 2, **cursor})).json()
        seen += [members(group) for group in page["groups"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(map(sorted, seen)) == sorted(map(sorted, zip(first, second, strict=True)))


async def test_what_is_no_group(client: httpx.AsyncClient, database: Database) -> None:
    for tier in Tier:
        assert await answer(client, "POST", f"{tier}-{uuid4()}") == (404, "group_not_found")
        assert await answer(client, "DELETE", f"{tier}-{uuid4()}") == (404, "group_not_found")
    for wrong in ("near", "near-1", f"other-{uuid4()}", str(uuid4())):
        assert await answer(client, "POST", wrong) == (422, "invalid_request")
    for wanted in ({"tier": "other"}, {"cursor": "x"}, {"limit": 0}, {"limit": 201}, {"folder_id": "x"}):
        assert (await client.get("/duplicates", params=wanted)).status_code == 422, wanted
    other, _ = await create_owner(database)
    async with database.begin() as session:
        with pytest.raises(NotFound):
            await duplicates.dismiss(session, other, GroupKey(Tier.NEAR, uuid4()))
