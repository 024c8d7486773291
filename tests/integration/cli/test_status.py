"""`likeness status`, and what any command says of settings and stores that are not right."""

import asyncio
from contextlib import suppress

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common import jobs
from common.breakers import Breakers
from common.db.engine import Database
from common.errors import StorageUnavailable
from common.settings import BreakerSettings, RedisSettings
from common.status import ImageStatus
from deploy.local.stores import Stores
from tests.fixtures.cli import Run
from tests.integration.cli.conftest import NOWHERE, add_images
from worker.heartbeat import beat, find_workers


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
        async with asyncio.timeout(60):
            while len(await find_workers(redis)) < 2:  # noqa: ASYNC110 - it asks Redis
                await asyncio.sleep(0.01)
        fine = await run("status", "--check")
        assert (fine.status, "2 alive\n" in fine.out) == (0, True)
        with suppress(StorageUnavailable), ill["storage"].guard():
            raise StorageUnavailable("refused")
        async with asyncio.timeout(60):  # at once, not with the next beat
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
