"""Rows of the search log: summed up, and forgotten in their time."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from common.db import searches
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.db.searches import Kind, NewSearch, Report
from tests.fixtures.rows import count

WEEK = timedelta(days=7)


def search(query: str | None = None, *, kind: Kind = "text", found: int = 5, ms: float = 10, **more: Any) -> NewSearch:
    return NewSearch(
        **{"owner_id": LOCAL_OWNER_ID, "depth": 0, "model": "m/p", **more}, kind=kind, text=query, found=found, ms=ms
    )


async def add(database: Database, *new: NewSearch, age: timedelta = timedelta(0)) -> None:
    async with database.begin() as session:
        await searches.add(session, new)
        await session.execute(
            text("UPDATE search_log SET at = at - CAST(:age AS interval) WHERE at = now()"), {"age": age}
        )


async def report(database: Database, since: timedelta = WEEK, limit: int = 10) -> Report:
    async with database.begin() as session:
        return await searches.report(session, since=since, limit=limit)


async def test_nothing_searched_nothing_to_tell(database: Database) -> None:
    assert await report(database) == Report(0, [], [], [])


async def test_queries_are_counted_whatever_their_case(database: Database) -> None:
    image = uuid4()
    await add(
        database,
        search("Red shoes", filters={"category": "shoes"}),
        search("red shoes ", found=0),
        search("red shoes", depth=20),
        search("red shoes", depth=40, found=0),
        *[search("boots", found=0) for _ in range(3)],
        search(kind="image", image_id=image),
        search("red", kind="examples", image_id=image, found=0),
        search(kind="picture", found=0),
    )
    await add(database, search("long ago"), age=timedelta(days=8))
    found = await report(database)
    assert [(asked.kind, asked.query, asked.searches, asked.none_found, asked.filtered) for asked in found.top] == [
        ("text", "boots", 3, 3, 0),
        ("text", "red shoes", 2, 1, 1),
        ("image", str(image), 1, 0, 0),
    ]
    assert [(asked.query, asked.searches, asked.none_found) for asked in found.none_found] == [
        ("boots", 3, 3),
        ("red shoes", 1, 1),
    ]
    assert [asked.query for asked in (await report(database, limit=1)).top] == ["boots"]
    assert "long ago" in [asked.query for asked in (await report(database, timedelta(days=9))).top]


async def test_latency_is_told_by_kind_and_of_all(database: Database) -> None:
    texts = [search("a", ms=float(ms)) for ms in range(1, 102)]
    await add(database, *texts, search(kind="picture", ms=1000))
    latency = (await report(database)).latency
    assert [(each.kind, each.searches) for each in latency] == [("picture", 1), ("text", 101), (None, 102)]
    assert (latency[0].p50_ms, latency[0].p99_ms, latency[0].max_ms) == (1000, 1000, 1000)
    assert (latency[1].p50_ms, latency[1].p95_ms, latency[1].p99_ms, latency[1].max_ms) == (51, 96, 100, 101)
    assert (latency[2].p50_ms, latency[2].max_ms) == (51.5, 1000)


async def test_sessions_are_one_owners(database: Database) -> None:
    visits = [(LOCAL_OWNER_ID, "1"), (LOCAL_OWNER_ID, "1"), (LOCAL_OWNER_ID, "2"), (uuid4(), "1"), (uuid4(), None)]
    await add(database, *(search("a", owner_id=owner, session=session) for owner, session in visits))
    assert (await report(database)).sessions == 3


async def test_what_is_old_is_forgotten_bit_by_bit(database: Database) -> None:
    await add(database, *(search("old") for _ in range(5)), age=timedelta(days=8))
    await add(database, search("new"))
    forgotten: list[int] = []
    while not forgotten or forgotten[-1]:
        async with database.begin() as session:
            forgotten.append(await searches.forget(session, older_than=WEEK, limit=2))
    assert forgotten == [2, 2, 1, 0]
    assert [asked.query for asked in (await report(database, timedelta(days=30))).top] == ["new"]
    assert await count(database, "search_log") == 1
