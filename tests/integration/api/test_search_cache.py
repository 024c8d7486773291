"""Searches of which something is known already: without the embedder, or without the index, and never wrong."""

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr
from sqlalchemy import text

from api.settings import ApiSettings, CacheSettings
from common.db.engine import Database
from common.settings import RedisSettings, SearchLogSettings
from common.vectors.base import VectorIndex
from embedder.demo.scenes import Scene
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.scenes import drawn
from tests.fixtures.services import running_api
from tests.fixtures.uploading import count_rows, settled, uploaded_ids
from worker.context import WorkerContext

SCENES = (Scene("red", "circle", 1, "blue"), Scene("green", "star", 1, "blue"))
TEXT = SCENES[0].caption
PICTURE = drawn(SCENES[1], 7)


async def by_text(client: httpx.AsyncClient, query: str = TEXT, **more: str) -> httpx.Response:
    return await client.get("/search/text", params={"q": query}, headers=more)


async def by_picture(client: httpx.AsyncClient, picture: bytes = PICTURE) -> httpx.Response:
    return await client.post("/search/image", files={"file": ("a.png", picture, "image/png")})


def ids_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [result["image"]["id"] for result in answer.json()["results"]]


async def test_a_known_search_needs_no_embedder(
    api_settings: ApiSettings, vectors: VectorIndex, worker: WorkerContext, database: Database
) -> None:
    """And each search is in the log when the api has stopped."""
    async with AsyncExitStack() as stack:
        embedder = await stack.enter_async_context(FaultProxy(urlsplit(api_settings.embedder.url).port or 0))
        line = api_settings.embedder.model_copy(update={"url": f"http://127.0.0.1:{embedder.port}"})
        # Patient with Redis: a loaded machine is no reason to ask the embedder.
        patient = CacheSettings(timeout_s=30)
        settings = api_settings.model_copy(update={"embedder": line, "cache": patient})
        async with running_api(settings, vectors) as client:
            ids = await uploaded_ids(client, *(drawn(scene, seed) for seed, scene in enumerate(SCENES)))
            await settled(client, ids)
            found = [await by_text(client, **{"X-Session-ID": "visit-1"}), await by_picture(client)]
            assert [ids_of(answer)[0] for answer in found] == ids
            await embedder.refuse()
            again = [await by_text(client), await by_picture(client)]
            assert [answer.json() for answer in again] == [answer.json() for answer in found]
            assert (await by_text(client, "never asked before")).status_code == 503
            assert "likeness_cache_lookups_total" in (await client.get("/metrics")).text
        # Another process: it knows from Redis.
        async with running_api(settings, vectors) as client:
            assert (await by_text(client)).json() == found[0].json()
        # A third, without Redis, has to ask.
        await embedder.heal()
        alone = settings.model_copy(update={"redis": RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))})
        async with running_api(alone, vectors) as client:
            for _ in range(2):
                assert [ids_of(await by_text(client)), ids_of(await by_picture(client))] == [*map(ids_of, found)]
    async with database.begin() as session:
        rows = (await session.execute(text("SELECT kind, text, session, found FROM search_log ORDER BY id"))).all()
    text_, picture = ("text", TEXT, None, 2), ("picture", None, None, 2)
    first = ("text", TEXT, "visit-1", 2)
    assert [tuple(row) for row in rows] == [first, picture, text_, picture, text_, text_, picture, text_, picture]


async def test_what_was_deleted_is_not_shown_from_kept_answers(
    api_settings: ApiSettings, vectors: VectorIndex, worker: WorkerContext, database: Database
) -> None:
    cache = CacheSettings(candidates_s=60)
    settings = api_settings.model_copy(update={"cache": cache, "search_log": SearchLogSettings(enabled=False)})
    async with running_api(settings, vectors) as client:
        ids = await uploaded_ids(client, *(drawn(scene, seed) for seed, scene in enumerate(SCENES)))
        await settled(client, ids)
        assert ids_of(await by_text(client)) == ids
        assert (await client.delete(f"/images/{ids[0]}")).status_code == 204
        late = await uploaded_ids(client, drawn(SCENES[0], 5))
        await settled(client, late)
        assert ids_of(await by_text(client)) == ids[1:], "fresh rows, for the answer of a while ago"
        assert set(ids_of(await by_text(client, "something else"))) == {ids[1], late[0]}
    assert await count_rows(database, "search_log") == 0
