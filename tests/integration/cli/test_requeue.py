"""`likeness requeue`."""

from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import text

from common import jobs
from common.db import images, lifecycle
from common.db.attempts import Failure
from common.db.embedding_models import label
from common.db.engine import Database
from common.settings import RedisSettings
from deploy.local.stores import Stores
from tests.fixtures.cli import Run
from tests.fixtures.rows import activate_model, create_folder
from tests.integration.cli.conftest import NOWHERE, add_images, statuses
from worker.cli.requeue import BATCH


async def age(database: Database, ids: list[UUID], hours: int) -> None:
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET updated_at = now() - :hours * interval '1 hour' WHERE id = ANY(:ids)"),
            {"hours": hours, "ids": ids},
        )


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
    folder = await create_folder(database)
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
    nothing = [("--limit", "5"), ("--status", "pending"), ("--status", "error", "--since", "soon")]
    for arguments in ((), *nothing, ("--status", "done", "--since", "2h"), ("--status", "done", uuid4())):
        assert (await run("requeue", *arguments)).status == 2
    assert set((await statuses(database)).values()) == {"error"}


async def test_requeue_finding_nothing_is_fine(run: Run) -> None:
    ran = await run("requeue", "--code", "no_such_code")
    assert (ran.status, ran.out) == (0, "No image in error matches.\n")
    ran = await run("requeue", "--status", "done")
    assert (ran.status, ran.out) == (0, "No done image matches.\n")


async def test_what_is_done_is_processed_once_more_if_that_is_asked_for(run: Run, database: Database) -> None:
    failed, *done = await add_images(database, 1) + await add_images(database, 2, "done")
    folder = await create_folder(database)
    elsewhere = await add_images(database, 1, "done", folder=folder)
    ran = await run("requeue", "--status", "done", "--folder", folder, "--json", REDIS__URL=NOWHERE)
    assert (ran.status, ran.data["requeued"], ran.data["not_in_error"]) == (0, 1, [])
    async with database.begin() as session:
        event = (await images.list_events(session, elsewhere[0]))[-1]
    assert (event.from_status, event.to_status, event.worker, event.error_code) == (
        "done",
        "pending",
        "cli",
        "run_again",
    )
    await age(database, done[:1], 1)
    await run("requeue", "--status", "done", "--limit", "1", REDIS__URL=NOWHERE)
    pending = dict.fromkeys([*elsewhere, done[0]], "pending")
    assert await statuses(database) == {failed: "error", done[1]: "done", **pending}
