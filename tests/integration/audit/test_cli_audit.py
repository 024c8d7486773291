"""`likeness audit`: the command writes a row and follows it, whoever does the work."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.db import operations
from common.db.engine import Database
from common.db.operations import AUDIT, NewOperation
from common.errors import StorageUnavailable
from common.storage import thumbnail_key
from tests.fixtures.auditing import NO_GRACE, Collected, ids
from tests.fixtures.cli import Run
from worker import operations as operations_module
from worker.audit.audit import Audits
from worker.cli import auditing, following
from worker.operations import Operations


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for anybody."""
    monkeypatch.setattr(operations_module, "_POLL_S", 0.02)
    monkeypatch.setattr(following, "_POLL_S", 0.02)


@asynccontextmanager
async def working(collected: Collected) -> AsyncIterator[None]:
    """Have a worker that does operations."""
    audits = Audits(collected.database, collected.storage, collected.index, grace=NO_GRACE)
    running = asyncio.create_task(Operations(collected.database, "working", [audits]).run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_where_everything_agrees_it_is_fine(run: Run, collected: Collected) -> None:
    await collected.add(3)
    async with working(collected):
        ran = await run("audit")
        data = (await run("audit", "--json")).data
    assert ran.status == 0
    assert "Checked 3 images, 6 objects and 3 vectors." in ran.out
    assert "All agree." in ran.out
    assert (data["found"], data["left"], data["fix"], data["sample"], data["mismatches"]) == (0, 0, False, None, {})
    assert data["checked"] == {"images": 3, "objects": 6, "points": 3}
    assert UUID(data["id"])


async def test_what_is_found_is_1_until_it_is_mended(run: Run, collected: Collected) -> None:
    image, *_ = await collected.add(3)
    await collected.index.delete(collected.collection, [image.id])
    async with working(collected):
        ran = await run("audit")
        mending = await run("audit", "--fix", "--json")
        after = await run("audit", "--json")
    assert ran.status == 1
    assert re.search(r"vector_missing\W+1\W+0", ran.out)
    assert str(image.id) in ran.out
    assert (mending.status, mending.data["found"], mending.data["left"]) == (0, 1, 0)
    tally = mending.data["mismatches"]["vector_missing"]
    assert (tally["count"], tally["fixed"], [item["id"] for item in tally["items"]]) == (1, 1, [str(image.id)])
    assert (after.status, after.data["found"]) == (0, 0)


async def test_what_can_not_be_mended_is_1_with_what_to_bring_back(run: Run, collected: Collected) -> None:
    image, *_ = await collected.add(2)
    await collected.storage.delete(image.object_key)
    async with working(collected):
        ran = await run("audit", "--fix")
    assert ran.status == 1
    assert f"{image.object_key}, uploaded as 'a.png'" in ran.out


async def test_a_person_is_shown_some_ids_and_json_has_them_all(run: Run, collected: Collected) -> None:
    images = await collected.add(auditing.SHOWN + 5)
    for image in images:
        await collected.storage.delete(thumbnail_key(image.sha256))
    async with working(collected):
        shown = await run("audit")
        data = (await run("audit", "--json")).data
    assert "… and 5 more" in shown.out
    assert {item["id"] for item in data["mismatches"]["thumbnail_missing"]["items"]} == ids(images)


async def test_a_sample_looks_at_no_more_than_it_says(run: Run, collected: Collected) -> None:
    await collected.add(5)
    async with working(collected):
        data = (await run("audit", "--sample", "2", "--json")).data
    assert (data["sample"], data["checked"]) == (2, {"images": 2, "objects": 4, "points": 2})


async def test_an_audit_can_be_followed_again(run: Run, collected: Collected) -> None:
    operation = await collected.operate(NewOperation(AUDIT, "tests", {}))
    ran = await run("audit", "--follow", operation.id)
    assert (ran.status, "All agree." in ran.out) == (0, True)
    assert (await run("audit", "--follow", operation.id, "--fix")).status == 2
    unknown = await run("audit", "--follow", uuid4())
    assert (unknown.status, unknown.out) == (1, "")
    assert "there is no operation" in unknown.err
    assert "goes on" not in unknown.err


async def test_without_a_worker_it_says_what_it_waits_for(
    run: Run, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PATIENCE_S", 0.05)
    command = asyncio.ensure_future(run("audit"))
    for _ in range(50):  # until it has lost patience
        await asyncio.sleep(0.02)
    async with working(collected):
        ran = await command
    assert ran.status == 0
    assert ran.err.count("no worker has taken it yet") == 1


async def test_an_outage_is_told_and_waited_for(
    run: Run, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = collected.storage.list_objects
    failures = iter([StorageUnavailable("object store: it is down")])

    async def failing(*arguments: Any, **options: Any) -> Any:
        for failure in failures:
            raise failure
        return await listing(*arguments, **options)

    monkeypatch.setattr(collected.storage, "list_objects", failing)
    async with working(collected):
        ran = await run("audit")
    assert ran.status == 0
    assert "Waiting: object store: it is down" in ran.err


async def test_one_that_failed_for_good_is_1_and_says_why(run: Run, database: Database) -> None:
    async with database.begin() as session:
        operation_id = await operations.start(session, NewOperation(AUDIT, "tests", {}))
        claim = await operations.claim(session, [AUDIT], "tests")
        assert claim is not None
        await operations.fail(session, claim, "it is broken")
    ran = await run("audit", "--follow", operation_id)
    assert (ran.status, ran.out) == (1, "")
    assert "it is broken" in ran.err


async def test_without_postgresql_it_is_3(run: Run) -> None:
    assert (await run("audit", DATABASE__URL="postgresql+asyncpg://likeness@127.0.0.1:1/likeness")).status == 3


@pytest.mark.parametrize("arguments", [("--sample", "0"), ("--follow", "nonsense")])
async def test_a_wrong_command_line_is_2(run: Run, arguments: tuple[str, str]) -> None:
    assert (await run("audit", *arguments)).status == 2


async def test_ctrl_c_ends_the_command_and_not_the_audit(database: Database, environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from worker.cli import app; app()",
        "audit",
        "--fix",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        while True:
            async with database.begin() as session:
                rows = (await session.execute(text("SELECT id, status, params FROM operations"))).all()
            if rows:
                break
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    ((operation_id, status, params),) = rows
    assert (process.returncode, out) == (130, b"")
    assert err.decode().splitlines() == [
        f"The audit goes on without this command: `likeness audit --follow {operation_id}`.",
        "Interrupted.",
    ]
    assert (status, params) == ("queued", {"fix": True, "sample": None})
