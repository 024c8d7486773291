"""The search log is written beside the requests: in batches, bounded, and never anybody's trouble."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from api import search_log
from api.search_log import SearchLog
from common.db import searches
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.db.searches import NewSearch
from common.settings import DatabaseSettings
from tests.fixtures.rows import count

AT_ONCE, NEVER = 0.0, 3600.0


def search(text: str = "a") -> NewSearch:
    return NewSearch(LOCAL_OWNER_ID, "text", depth=0, found=1, ms=1, model="m/p", text=text, filters={"tags": ["a"]})


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("likeness_searches_logged_total", {"outcome": outcome}) or 0


async def until_counted(outcome: str, number: float) -> None:
    async with asyncio.timeout(60):
        while counted(outcome) < number:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)


@pytest.fixture
async def nowhere() -> AsyncIterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr("postgresql+asyncpg://likeness@127.0.0.1:1/likeness")))
    yield opened
    await opened.close()


async def test_searches_are_written_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    add = searches.add

    async def counting(session: AsyncSession, batch: Sequence[NewSearch]) -> None:
        batches.append(len(batch))
        await add(session, batch)

    monkeypatch.setattr(searches, "add", counting)
    writer = SearchLog(database, gather_s=AT_ONCE)
    for round_ in range(1, 3):
        before = counted("written")
        for number in range(1200):
            writer.note(search(str(number)))
        await until_counted("written", before + 1200)
        assert await count(database, "search_log") == 1200 * round_
    assert batches == [500, 500, 200] * 2
    await writer.close()


async def test_searches_that_keep_coming_are_gathered_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    add = searches.add

    async def noting(session: AsyncSession, batch: Sequence[NewSearch]) -> None:
        if not batches:
            writer.note(search("while the first is written"))
            asyncio.get_running_loop().call_later(0.01, writer.note, search("and soon after"))
        batches.append(len(batch))
        await add(session, batch)

    monkeypatch.setattr(searches, "add", noting)
    writer = SearchLog(database, gather_s=0.5)
    before = counted("written")
    writer.note(search())
    await until_counted("written", before + 3)
    assert batches == [1, 2]
    await writer.close()


async def test_what_waits_is_written_at_the_end(database: Database) -> None:
    writer = SearchLog(database, gather_s=NEVER)
    writer.note(search())
    writer.note(search())
    await writer.close()
    assert await count(database, "search_log") == 2
    await SearchLog(database).close()


async def test_a_full_queue_drops_what_comes(database: Database) -> None:
    writer = SearchLog(database, gather_s=NEVER)
    before = counted("dropped"), counted("written")
    for _ in range(search_log.MOST_WAITING + 7):
        writer.note(search())
    assert counted("dropped") - before[0] == 7
    await writer.close()
    assert counted("written") - before[1] == search_log.MOST_WAITING


async def test_without_a_database_searches_are_lost_and_counted(nowhere: Database) -> None:
    writer = SearchLog(nowhere, gather_s=AT_ONCE)
    before = counted("lost")
    with structlog.testing.capture_logs() as logs:
        writer.note(search("nobody's business"))
        await until_counted("lost", before + 1)
        writer.note(search())
        await writer.close()
    assert counted("lost") - before == 2
    assert {entry["event"] for entry in logs} == {"searches_not_logged"}
    assert "nobody" not in str(logs)


async def test_a_database_that_hangs_at_the_end_holds_nobody_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(searches, "add", hang)
    monkeypatch.setattr(search_log, "_LAST_WORDS_S", 0.05)
    writer = SearchLog(database, gather_s=AT_ONCE)
    before = counted("lost")
    writer.note(search())
    async with asyncio.timeout(60):
        await writer.close()
    assert counted("lost") - before == 1


async def test_a_defect_costs_its_batch_and_no_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SearchLog(database, gather_s=AT_ONCE)
    before = counted("lost"), counted("written")
    with structlog.testing.capture_logs() as logs:
        writer.note(search("no text \0 of PostgreSQL's"))
        await until_counted("lost", before[0] + 1)
    assert [entry["event"] for entry in logs] == ["search_log_defect"]
    writer.note(search())
    await until_counted("written", before[1] + 1)
    await writer.close()
