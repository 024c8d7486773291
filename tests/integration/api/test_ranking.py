"""Searches in another order than by likeness, and counts of what a filter lets through."""

from typing import Any

import httpx

from common.db.engine import Database
from embedder.demo.scenes import Scene
from tests.fixtures.searching import indexed, search
from worker.context import WorkerContext

RED = Scene("red", "circle", 1, "blue")
STAR = Scene("green", "star", 1, "blue")


async def read(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Read all pages of a search; return the ids."""
    found, cursor = [], None
    while True:
        page = (await client.post("/search", json=query | {"cursor": cursor})).json()
        found += [result["image"]["id"] for result in page["results"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_orders(client: httpx.AsyncClient, worker: WorkerContext, database: Database) -> None:
    *reds, star = await indexed(client, RED, RED, RED, STAR)
    by_likeness = await search(client, text=RED.caption)
    assert set(by_likeness[:3]) == set(reds)
    diverse = await search(client, text=RED.caption, ranking={"diversity": 0.9})
    assert diverse[:2] == [by_likeness[0], star]

    (newest,) = await indexed(client, STAR, tags="new")
    assert (await search(client, text=RED.caption, ranking={"recency": 1}))[0] == newest
    params: dict[str, Any] = {"q": RED.caption, "recency": 1, "limit": 1}
    first = (await client.get("/search/text", params=params)).json()
    assert [result["image"]["id"] for result in first["results"]] == [newest]
    assert first["results"][0]["score"] < 0.9, "a score is a likeness, whatever the order"


async def test_pages_of_any_order(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    await indexed(client, RED, STAR, RED, STAR, RED)
    wishes = [{"diversity": 0.5}, {"recency": 0.3}, {"diversity": 0.3, "recency": 0.3}]
    queries = [{"text": "a red circle", "ranking": wish} for wish in wishes]
    whole = [await search(client, **query) for query in queries]
    assert [await read(client, limit=2, **query) for query in queries] == whole
    firsts = [(await client.post("/search", json=query | {"limit": 2})).json() for query in queries]
    await indexed(client, RED, tags="new")
    for query, first, expected in zip(queries, firsts, whole, strict=True):
        assert len(expected) == 5
        rest = await search(client, limit=9, cursor=first["next_cursor"], **query)
        assert rest == expected[2:], "what is new since shifts no page"


async def test_facets(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    assert (await client.get("/search/facets")).json() == {"categories": [], "tags": []}
    await indexed(client, RED, STAR, category="shoes", tags=["sale", "red"])
    await indexed(client, Scene("red", "star", 2, "white"), tags=["sale"])
    everything = {
        "categories": [{"value": "shoes", "count": 2}],
        "tags": [{"value": "sale", "count": 3}, {"value": "red", "count": 2}],
    }
    assert (await client.get("/search/facets")).json() == everything
    assert (await client.get("/search/facets", params={"tag": "red", "category": "hats"})).json()["tags"] == []
    answer = (await client.get("/search/text", params={"q": "a star", "limit": 1, "facets": True})).json()
    assert (len(answer["results"]), answer["facets"]) == (1, everything)
    shoes = {"text": "a star", "facets": True, "filter": {"category": "shoes"}}
    assert (await client.post("/search", json=shoes)).json()["facets"]["tags"][0] == {"value": "red", "count": 2}
    assert (await client.post("/search", json={"text": "a star"})).json()["facets"] is None
