"""The command line against real stores; `import` against the real API."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image as Picture
from pydantic import SecretStr
from sqlalchemy import text

from api.main import create_app
from api.settings import ApiSettings
from common import jobs
from common.breakers import Breakers
from common.db import images, lifecycle
from common.db.embedding_models import label
from common.db.engine import Database
from common.db.images import NewImage
from common.db.lifecycle import Failure
from common.db.models import LOCAL_FOLDER_ID, LOCAL_OWNER_ID
from common.errors import StorageUnavailable
from common.serving import serving
from common.settings import BreakerSettings, RedisSettings
from common.status import ImageStatus
from deploy.local.ports import LOOPBACK, choose_ports
from deploy.local.stores import Stores
from tests.fixtures.cli import Run
from tests.fixtures.rows import activate_model
from worker.cli.requeue import BATCH
from worker.heartbeat import beat, find_workers

NOWHERE = "redis://127.0.0.1:1/0"


async def add_images(
    database: Database, number: int, status: str = "error", code: str = "image_corrupt", folder: UUID = LOCAL_FOLDER_ID
) -> list[UUID]:
    """Record images and put them into a state, however the state machine feels about it."""
    new = [
        NewImage(LOCAL_OWNER_ID, folder, uuid4().hex * 2, "sha256/…", f"[red]{n}.jpg", "image/jpeg", 10, 1, 1)
        for n in range(number)
    ]
    async with database.begin() as session:
        recorded = await images.record(session, new)
        ids = [row.image.id for row in recorded if row is not None]
        await lifecycle.mark_stored(session, ids)
        await session.execute(
            text(
                "UPDATE images SET status = :status, error_code = CASE WHEN :status = 'error' THEN :code END, "
                "lease_until = CASE WHEN :status IN ('embedding', 'indexing') THEN now() - interval '1 min' END "
                "WHERE id = ANY(:ids)"
            ),
            {"status": status, "code": code, "ids": ids},
        )
    return ids


async def add_folder(database: Database) -> UUID:
    folder = uuid4()
    async with database.begin() as session:
        await session.execute(
            text("INSERT INTO folders (id, owner_id, name) VALUES (:id, :owner, 'another')"),
            {"id": folder, "owner": LOCAL_OWNER_ID},
        )
    return folder


async def statuses(database: Database) -> dict[UUID, str]:
    async with database.begin() as session:
        rows = await session.execute(text("SELECT id, status FROM images"))
        return {row.id: row.status for row in rows}


async def age(database: Database, ids: list[UUID], hours: int) -> None:
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET updated_at = now() - :hours * interval '1 hour' WHERE id = ANY(:ids)"),
            {"hours": hours, "ids": ids},
        )


# status


async def test_status_of_an_empty_database(run: Run) -> None:
    ran = await run("status", "--json", REDIS__URL=NOWHERE)
    assert ran.status == 0
    assert ran.data["counts"] == dict.fromkeys(ImageStatus, 0)
    assert (ran.data["oldest_pending_s"], ran.data["expired_leases"], ran.data["model"]) == (None, 0, None)
    assert ran.data["queue"]["reachable"] is False
    assert (await run("status", "--check", REDIS__URL=NOWHERE)).status == 0


async def test_status_counts_and_tells_what_is_wrong(run: Run, database: Database, stores: Stores) -> None:
    pending = await add_images(database, 2, "pending")
    await add_images(database, 1, "embedding")
    await add_images(database, 3, "done")
    await add_images(database, 1)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET next_run_at = now() + :hours * interval '1 hour' WHERE id = :id"),
            [{"id": pending[0], "hours": -2}, {"id": pending[1], "hours": 2}],
        )
        await session.execute(
            text(
                "INSERT INTO embedding_models (name, pretrained, dim, preprocess_version, state, collection) "
                "VALUES ('ViT', 'laion', 512, 1, 'active', 'vit')"
            )
        )
    redis = jobs.create_redis(RedisSettings(url=SecretStr(stores.redis_url)))
    try:
        await redis.delete(jobs.QUEUE)
        await jobs.hint(redis, pending)
        ran = await run("status", "--json")
        shown = await run("status")
    finally:
        await redis.delete(jobs.QUEUE)
        await redis.aclose()
    assert ran.data["counts"] == {
        "created": 0,
        "pending": 2,
        "embedding": 1,
        "indexing": 0,
        "done": 3,
        "error": 1,
    }
    assert 7200 <= ran.data["oldest_pending_s"] < 7300
    assert ran.data["expired_leases"] == 1
    assert ran.data["model"]["label"] == "ViT/laion"
    assert ran.data["queue"] == {"reachable": True, "depth": 1, "error": None}
    assert "2 h" in shown.out
    assert "ViT/laion, 512 dimensions" in shown.out
    assert (ran.status, (await run("status", "--check")).status) == (0, 1)


async def test_status_tells_which_workers_live_and_what_they_wait_for(run: Run, stores: Stores) -> None:
    redis = jobs.create_redis(RedisSettings(url=SecretStr(stores.redis_url)))
    await redis.flushdb()
    well, ill = (Breakers("tests", BreakerSettings(failures=1, pause_s=3600)) for _ in range(2))
    for breakers in (well, ill):
        breakers.create("storage", StorageUnavailable)
    beating = [
        asyncio.create_task(beat(jobs.create_redis(RedisSettings(url=SecretStr(stores.redis_url))), name, breakers))
        for name, breakers in (("one:1", well), ("two:2", ill))
    ]
    try:
        async with asyncio.timeout(30):
            while len(await find_workers(redis)) < 2:  # noqa: ASYNC110 - it asks Redis
                await asyncio.sleep(0.01)
        fine = await run("status", "--check")
        assert (fine.status, "2 alive\n" in fine.out) == (0, True)
        with suppress(StorageUnavailable), ill["storage"].guard():
            raise StorageUnavailable("refused")
        async with asyncio.timeout(30):  # at once, not with the next beat
            while not any(worker.open for worker in await find_workers(redis)):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        found = await run("status", "--check", "--json")
        assert found.status == 1
        assert found.data["workers"] == [
            {"name": "one:1", "breakers": {"storage": "closed"}},
            {"name": "two:2", "breakers": {"storage": "open"}},
        ]
        assert "2 alive; two:2 waits for storage" in (await run("status")).out
    finally:
        for task in beating:
            task.cancel()
        await asyncio.wait(beating)
        await ill.close()
        await redis.flushdb()
        await redis.aclose(close_connection_pool=True)
    unknown = await run("status", "--json", REDIS__URL=NOWHERE)
    assert unknown.data["workers"] is None


async def test_without_postgresql_the_status_is_3(run: Run, database_url: str) -> None:
    for url in (
        "postgresql+asyncpg://likeness@127.0.0.1:1/likeness",
        database_url.replace("test_", "no_such_database_"),
        database_url.replace("://likeness:", "://likeness:wrong"),
    ):
        ran = await run("status", DATABASE__URL=url)
        assert (ran.status, ran.out) == (3, "")
        assert ran.err.startswith("PostgreSQL: ")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("DATABASE__URL", "nonsense"),
        ("DATABASE__URL", "postgresql://likeness@127.0.0.1/likeness"),
        ("DATABASE__POOL_SIZE", "many"),
        ("REDIS__URL", "nonsense"),
    ],
)
async def test_a_wrong_setting_is_2_and_named(run: Run, setting: str, value: str) -> None:
    ran = await run("status", **{setting: value})
    assert ran.status == 2
    assert setting in ran.err


async def test_a_database_at_another_revision_is_2_and_the_remedy_named(run: Run, empty_database_url: str) -> None:
    ran = await run("status", DATABASE__URL=empty_database_url)
    assert ran.status == 2
    assert "likeness migrate" in ran.err


# migrate


async def test_migrate_goes_up_to_head_and_says_from_where(run: Run, empty_database_url: str) -> None:
    first = await run("migrate", DATABASE__URL=empty_database_url)
    assert (first.status, "an empty database" in first.out) == (0, True)
    second = await run("migrate", DATABASE__URL=empty_database_url)
    assert (second.status, "already" in second.out) == (0, True)
    assert (await run("status", DATABASE__URL=empty_database_url)).status == 0


async def test_migrate_leaves_the_database_of_a_later_version_alone(run: Run, database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ran = await run("migrate")
    assert ran.status == 1
    assert "9999" in ran.err


# inspect


async def test_inspect_shows_row_and_history(run: Run, database: Database) -> None:
    (image_id,) = await add_images(database, 1)
    ran = await run("inspect", image_id, "--json")
    assert (ran.data["id"], ran.data["status"], ran.data["error_code"]) == (str(image_id), "error", "image_corrupt")
    assert [event["to_status"] for event in ran.data["events"]] == ["created", "pending"]
    shown = await run("inspect", image_id)
    assert "[red]0.jpg" in shown.out
    assert "image_corrupt" in shown.out


async def test_inspect_an_unknown_image_is_1_and_a_malformed_id_2(run: Run) -> None:
    unknown = await run("inspect", uuid4())
    assert (unknown.status, unknown.out) == (1, "")
    assert "there is no image" in unknown.err
    assert (await run("inspect", "nonsense")).status == 2


# requeue


async def test_requeue_works_with_redis_down_and_is_written_to_the_history(run: Run, database: Database) -> None:
    ids = await add_images(database, 3)
    done = await add_images(database, 1, "done")
    ran = await run("requeue", "--status", "error", REDIS__URL=NOWHERE)
    assert (ran.status, ran.out) == (0, "Requeued 3 images.\n")
    assert "Redis" in ran.err
    assert await statuses(database) == {**dict.fromkeys(ids, "pending"), done[0]: "done"}
    async with database.begin() as session:
        event = (await images.list_events(session, ids[0]))[-1]
    assert (event.from_status, event.to_status, event.worker) == ("error", "pending", "cli")


async def test_requeue_wakes_workers_when_redis_is_up(run: Run, database: Database, stores: Stores) -> None:
    redis = jobs.create_redis(RedisSettings(url=SecretStr(stores.redis_url)))
    try:
        await redis.delete(jobs.QUEUE)
        await add_images(database, jobs.IDS_PER_JOB + 1)
        ran = await run("requeue", "--status", "error")
        assert await redis.zcard(jobs.QUEUE) == 2
    finally:
        await redis.delete(jobs.QUEUE)
        await redis.aclose()
    assert ran.err == ""


async def test_conditions_add_up(run: Run, database: Database) -> None:
    folder = await add_folder(database)
    old = await add_images(database, 1, code="internal_error")
    await age(database, old, 3)
    elsewhere = await add_images(database, 2, code="internal_error", folder=folder)
    other = await add_images(database, 1)

    async def selected(*conditions: object) -> int:
        count: int = (await run("requeue", "--dry-run", "--json", *conditions)).data["selected"]
        return count

    assert await selected("--status", "error") == 4
    assert await selected("--code", "internal_error") == 3
    assert await selected("--code", "internal_error", "--since", "2h") == 2
    assert await selected("--folder", folder) == 2
    assert await selected("--folder", folder, "--code", "image_corrupt") == 0
    assert await selected("--code", "internal_error", "--limit", "1") == 1
    assert await selected(elsewhere[0], other[0]) == 2
    assert set((await statuses(database)).values()) == {"error"}


async def test_by_the_model_of_the_last_attempt(run: Run, database: Database) -> None:
    model = await activate_model(database)
    tried, _ = await add_images(database, 2, "pending")
    async with database.begin() as session:
        (claim,) = await lifecycle.claim(session, [tried], "tests", model_id=model.id)
        await lifecycle.fail(session, [Failure(claim.fence, "image_corrupt", "It is corrupt.")])
    await add_images(database, 1)
    ran = await run("requeue", "--model", label(model), "--json", REDIS__URL=NOWHERE)
    assert (ran.data["selected"], (await statuses(database))[tried]) == (1, "pending")
    unknown = await run("requeue", "--model", "ViT/none")
    assert (unknown.status, "there is no model 'ViT/none'" in unknown.err) == (1, True)


async def test_a_limit_takes_what_failed_first(run: Run, database: Database) -> None:
    await add_images(database, 2)
    first = await add_images(database, 1)
    await age(database, first, 1)
    await run("requeue", "--status", "error", "--limit", "1")
    assert [id_ for id_, status in (await statuses(database)).items() if status == "pending"] == first


async def test_ids_that_cannot_be_requeued_are_named_and_1(run: Run, database: Database) -> None:
    failed = await add_images(database, 1)
    done = await add_images(database, 1, "done")
    unknown = uuid4()
    ran = await run("requeue", failed[0], done[0], unknown, "--json")
    assert ran.status == 1
    assert (ran.data["requeued"], set(ran.data["not_in_error"])) == (1, {str(done[0]), str(unknown)})


async def test_many_are_requeued_only_with_yes(run: Run, database: Database) -> None:
    await add_images(database, 101)
    counted = await run("requeue", "--status", "error", REDIS__URL=NOWHERE)
    assert (counted.status, counted.out) == (1, "101 images would be requeued.\n")
    assert "--yes" in counted.err
    asked_for = await run("requeue", "--status", "error", "--dry-run", "--json", REDIS__URL=NOWHERE)
    assert (asked_for.status, asked_for.data["dry_run"], asked_for.data["requeued"]) == (0, True, 0)
    assert set((await statuses(database)).values()) == {"error"}
    agreed = await run("requeue", "--status", "error", "--yes", REDIS__URL=NOWHERE)
    assert agreed.out.endswith("Requeued 101 images.\n")
    assert set((await statuses(database)).values()) == {"pending"}


async def test_more_than_a_batch_is_requeued_whole(run: Run, database: Database) -> None:
    await add_images(database, BATCH + 1)
    ran = await run("requeue", "--status", "error", "--yes", REDIS__URL=NOWHERE)
    assert ran.out == f"Requeued {BATCH + 1} images.\n"
    assert set((await statuses(database)).values()) == {"pending"}


async def test_requeue_nothing_in_particular_is_2(run: Run, database: Database) -> None:
    await add_images(database, 1)
    for arguments in ((), ("--limit", "5"), ("--status", "done"), ("--status", "error", "--since", "soon")):
        assert (await run("requeue", *arguments)).status == 2
    assert set((await statuses(database)).values()) == {"error"}


async def test_requeue_finding_nothing_is_fine(run: Run) -> None:
    ran = await run("requeue", "--code", "no_such_code")
    assert (ran.status, ran.out) == (0, "No image in error matches.\n")


# import


@pytest.fixture
async def api_url(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The real API on a free port; no worker, no embedder."""
    for name, value in {**environment, "QDRANT__PATH": str(tmp_path / "vectors")}.items():
        monkeypatch.setenv(name, value)
    (port,) = choose_ports(1)
    async with serving(create_app(ApiSettings()), LOOPBACK, port):
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for number in range(60):
        Picture.new("RGB", (8, 8), (number, 0, 0)).save(folder / "deep" / f"{number}.png")
    return folder


async def test_import_is_resumable_and_tells_what_was_rejected(
    run: Run, api_url: str, database: Database, pictures: Path
) -> None:
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "copy [red].png").write_bytes((pictures / "deep" / "0.png").read_bytes())
    first = await run("import", pictures, "--url", api_url, "--tag", "a", "--tag", "b", "--category", "c", "--json")
    assert first.status == 1
    assert {name: first.data[name] for name in ("found", "skipped", "accepted", "duplicates")} == {
        "found": 62,
        "skipped": 0,
        "accepted": 60,
        "duplicates": 1,
    }
    assert [(Path(file["path"]).name, file["code"]) for file in first.data["rejected"]] == [
        ("notes.txt", "unsupported_media")
    ]
    assert len(await statuses(database)) == 60
    async with database.begin() as session:
        described = await session.execute(text("SELECT DISTINCT tags, category FROM images"))
        assert [tuple(row) for row in described] == [(["a", "b"], "c")]
    (pictures / "notes.txt").unlink()
    second = await run("import", pictures, "--url", api_url)
    assert (second.status, "61 sent by an earlier run" in second.out) == (0, True)


async def test_import_can_wait_and_fails_for_what_failed(
    run: Run, api_url: str, database: Database, pictures: Path
) -> None:
    assert (await run("import", pictures, LIKENESS_URL=api_url)).status == 0
    async with database.begin() as session:
        await session.execute(text("UPDATE images SET status = 'done'"))
    assert (await run("import", pictures, "--wait", LIKENESS_URL=api_url)).status == 0
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET status = 'error', error_code = 'image_corrupt' WHERE filename = '7.png'")
        )
    ran = await run("import", pictures, "--wait", "--json", LIKENESS_URL=api_url)
    assert ran.status == 1
    assert [(Path(file["path"]).name, file["code"]) for file in ran.data["failed"]] == [("7.png", "image_corrupt")]


async def test_import_to_a_folder_that_is_not_there_fails_plainly(run: Run, api_url: str, pictures: Path) -> None:
    ran = await run("import", pictures, "--url", api_url, "--folder", uuid4())
    assert ran.status == 1
    assert "there is no folder" in ran.err
    assert "0 of 60 files" in ran.err


async def test_import_without_an_api_is_3_and_a_folder_that_is_not_there_2(run: Run, pictures: Path) -> None:
    ran = await run("import", pictures, "--url", "http://127.0.0.1:1")
    assert (ran.status, ran.out) == (3, "")
    assert "http://127.0.0.1:1" in ran.err
    assert (await run("import", pictures / "nowhere")).status == 2


async def test_import_that_cannot_write_its_journal_says_so(run: Run, api_url: str, pictures: Path) -> None:
    ran = await run("import", pictures, "--url", api_url, "--journal", pictures)
    assert ran.status == 1
    assert str(pictures) in ran.err


async def test_ctrl_c_stops_an_import_and_says_how_to_go_on(environment: dict[str, str], pictures: Path) -> None:
    """Run as a process of its own, against an API that takes uploads and never answers."""
    uploading = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET /health "):
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"status":"alive"}')
        else:
            uploading.set()
            await reader.read()  # until the client goes away
        writer.close()

    listener = socket.create_server((LOOPBACK, 0))
    server = await asyncio.start_server(serve, sock=listener)
    arguments = ["import", str(pictures), "--url", f"http://{LOOPBACK}:{listener.getsockname()[1]}"]
    async with server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from worker.cli import app; app()",
            *arguments,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await uploading.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert err.decode().splitlines()[-2:] == [
        "Interrupted.",
        "0 of 60 files are dealt with. The same command goes on from there.",
    ]


# the command line itself


async def test_help_names_every_command_and_the_exit_statuses(run: Run) -> None:
    ran = await run("--help")
    assert ran.status == 0
    assert all(command in ran.out for command in ("status", "requeue", "inspect", "import", "migrate"))
    for command in ("status", "requeue", "inspect", "import", "migrate"):
        assert "Exit status: 0 fine" in (await run(command, "--help")).out
