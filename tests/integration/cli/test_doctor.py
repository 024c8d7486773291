"""`likeness doctor`: a healthy set-up, and what it finds in broken ones, on real PostgreSQL, Redis and S3."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common import jobs
from common.breakers import STORAGE, Breakers
from common.db import embedding_models
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.errors import StorageUnavailable
from common.serving import serving
from common.settings import BreakerSettings, QdrantSettings, RedisSettings
from common.storage import S3ObjectStore
from common.vectors.base import Collection, VectorIndex
from common.vectors.factory import create_vector_index
from deploy.local.ports import LOOPBACK, choose_ports
from deploy.local.stores import Stores
from tests.fakes.embedder_server import DIM, MODEL, OTHER_MODEL, EmbedderServer
from tests.fakes.qdrant_server import QdrantServer
from tests.fixtures.cli import Ran, Run
from tests.fixtures.redis import connected
from tests.fixtures.rows import add_model
from tests.fixtures.silence import silent_server
from tests.fixtures.stores import empty_bucket
from worker.doctor import postgresql, s3
from worker.doctor.clock import now
from worker.doctor.findings import DEPENDENCIES
from worker.heartbeat import beat, find_workers

API_KEY = "hush-of-qdrant"
WRONG = "hush-and-wrong"
WORKER = "one:1"

Found = list[dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """What runs, and the environment that names it; all is well until a test breaks it."""

    environment: dict[str, str]
    run: Run
    stores: Stores
    database: Database
    storage: S3ObjectStore
    qdrant: QdrantServer
    index: VectorIndex
    model: EmbeddingModel
    breakers: Breakers
    """Of the worker."""

    async def examine(self, *arguments: str, **changes: str) -> Ran:
        """Run the doctor; no credential is in what it says."""
        ran = await self.run("doctor", *arguments, **{**self.environment, **changes})
        secrets = {API_KEY, WRONG, self.stores.s3_secret_key}
        secrets |= {urlsplit(url).password or "" for url in (self.stores.database_url, self.stores.redis_url)}
        assert [secret for secret in secrets if secret in ran.out + ran.err] == []
        return ran

    async def look(self, dependency: str, **changes: str) -> Found:
        """Return what of a dependency is not well; each has a remedy, and what failed makes the exit status."""
        ran = await self.examine("--json", "--only", dependency, **changes)
        problems: Found = [check for check in ran.data["checks"] if check["outcome"] in {"failed", "warning"}]
        assert all(check["remedy"] for check in problems)
        assert ran.status == int(any(check["outcome"] == "failed" for check in problems))
        return problems


@dataclass(frozen=True)
class Fakes:
    """An embedder and a Qdrant server."""

    embedder_url: str
    qdrant_url: str
    qdrant: QdrantServer


@pytest.fixture(scope="module")
async def fakes() -> AsyncIterator[Fakes]:
    embedder, vectors = choose_ports(2)
    qdrant = QdrantServer()
    async with serving(EmbedderServer().app(), LOOPBACK, embedder), serving(qdrant.app(), LOOPBACK, vectors):
        yield Fakes(f"http://{LOOPBACK}:{embedder}", f"http://{LOOPBACK}:{vectors}", qdrant)


@pytest.fixture
async def setup(
    run: Run, environment: dict[str, str], stores: Stores, database: Database, fakes: Fakes
) -> AsyncIterator[Setup]:
    fakes.qdrant.api_key = None
    breakers = Breakers("doctor", BreakerSettings(failures=1))
    breakers.create(STORAGE, StorageUnavailable)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(breakers.close)
        storage = await stack.enter_async_context(empty_bucket(stores, "test"))
        index = create_vector_index(QdrantSettings(url=fakes.qdrant_url))
        stack.push_async_callback(index.close)
        async with database.begin() as session:
            model = await embedding_models.settle_active(session, MODEL)
        await index.drop(Collection(model.collection, model.dim))
        await index.ensure(Collection(model.collection, model.dim))
        await stack.enter_async_context(_beating(stores, breakers))
        named = {
            "S3__BUCKET": "test",
            "QDRANT__URL": fakes.qdrant_url,
            "QDRANT__API_KEY": API_KEY,
            "EMBEDDER__URL": fakes.embedder_url,
            "DOCTOR__MIN_FREE_BYTES": "0",
            "DOCTOR__TIMEOUT_S": "60",
        }
        yield Setup({**environment, **named}, run, stores, database, storage, fakes.qdrant, index, model, breakers)


@asynccontextmanager
async def _beating(stores: Stores, breakers: Breakers) -> AsyncIterator[None]:
    """Have a worker tell that it lives, and none of those that other tests have killed seconds ago."""
    async with connected(stores.redis_url) as redis:
        for other in await redis.keys("likeness:worker:*"):
            await redis.delete(other)
    task = asyncio.create_task(
        beat(jobs.create_redis(RedisSettings(url=SecretStr(stores.redis_url))), WORKER, breakers)
    )
    async with connected(stores.redis_url) as redis:
        try:
            await _wait_for_workers(stores, bool)
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await redis.delete(f"likeness:worker:{WORKER}")


async def _wait_for_workers(stores: Stores, so: Callable[[list[Any]], bool]) -> None:
    async with asyncio.timeout(60), connected(stores.redis_url) as redis:
        while not so(await find_workers(redis)):  # noqa: ASYNC110 - it asks Redis
            await asyncio.sleep(0.01)


def _with(url: str, *, password: str | None = None, port: int | None = None, path: str | None = None) -> str:
    parts = urlsplit(url)
    netloc = f"{parts.username or ''}:{password or parts.password}@{parts.hostname}:{port or parts.port}"
    return parts._replace(netloc=netloc, path=path or parts.path).geturl()


def _summary(problems: Found) -> list[tuple[str, str, str]]:
    return [(problem["dependency"], problem["check"], problem["outcome"]) for problem in problems]


async def test_all_is_well(setup: Setup) -> None:
    ran = await setup.examine("--json", "--strict")
    assert (ran.status, ran.data["healthy"]) == (0, True)
    assert {check["outcome"] for check in ran.data["checks"]} == {"ok"}
    assert {check["dependency"] for check in ran.data["checks"]} == {"settings", *DEPENDENCIES} - {"api"}
    shown = await setup.examine(COLUMNS="80")
    assert (shown.status, "✗" in shown.out, f"{ran.data['counts']['ok']} fine." in shown.out) == (0, False, True)
    assert await setup.storage.list_objects("") == []
    async with connected(setup.stores.redis_url) as redis:
        assert await redis.keys("likeness:doctor:*") == []


async def test_wrong_settings_and_dead_servers(setup: Setup) -> None:
    setup.qdrant.api_key = API_KEY
    database, redis = setup.stores.database_url, setup.stores.redis_url
    nowhere = "http://127.0.0.1:1"
    broken: list[tuple[str, str, dict[str, str], str]] = [
        ("postgresql", "credentials", {"DATABASE__URL": _with(database, password=WRONG)}, "Correct DATABASE__URL"),
        ("postgresql", "database", {"DATABASE__URL": _with(database, path="/none")}, "none`, then `likeness migrate`"),
        ("postgresql", "reachable", {"DATABASE__URL": _with(database, port=1)}, "or correct DATABASE__URL"),
        ("redis", "credentials", {"REDIS__URL": _with(redis, password=WRONG)}, "Correct REDIS__URL"),
        ("redis", "reachable", {"REDIS__URL": _with(redis, port=1)}, "or correct REDIS__URL"),
        ("s3", "credentials", {"S3__SECRET_KEY": WRONG}, "Correct S3__SECRET_KEY"),
        ("s3", "credentials", {"S3__ACCESS_KEY": "nobody"}, "Correct S3__ACCESS_KEY"),
        ("s3", "bucket", {"S3__BUCKET": "no-such-bucket"}, "s3 mb s3://no-such-bucket`"),
        ("s3", "reachable", {"S3__ENDPOINT": nowhere}, "or correct S3__ENDPOINT"),
        ("qdrant", "credentials", {"QDRANT__API_KEY": WRONG}, "QDRANT__SERVICE__API_KEY"),
        ("embedder", "reachable", {"EMBEDDER__URL": nowhere}, "or correct EMBEDDER__URL"),
        ("disk", "space", {"DOCTOR__MIN_FREE_BYTES": str(10**18)}, "Make room: `du -xh "),
    ]
    for dependency, check, changes, remedy in broken:
        problems = await setup.look(dependency, **changes)
        assert _summary(problems) == [(dependency, check, "failed")]
        assert remedy in problems[0]["remedy"]


async def test_databases_at_another_revision(setup: Setup, empty_database_url: str) -> None:
    (unmigrated,) = await setup.look("postgresql", DATABASE__URL=empty_database_url)
    assert (unmigrated["check"], unmigrated["remedy"]) == ("migrations", "`likeness migrate`")
    for revision, remedy in (("0001", "`likeness migrate`"), ("9999", "Install the later version")):
        async with setup.database.begin() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": revision})
        (problem,) = await setup.look("postgresql")
        assert (problem["check"], problem["outcome"]) == ("migrations", "failed")
        assert revision in problem["seen"]
        assert remedy in problem["remedy"]


async def test_redis_that_forgets_and_is_nearly_full(setup: Setup) -> None:
    async with connected(setup.stores.redis_url) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            problems = await setup.look("redis")
            await redis.config_set("maxmemory-policy", "noeviction")
            await redis.config_set("maxmemory", int((await redis.info())["used_memory"] * 1.1))
            full = await setup.look("redis")
        finally:
            await redis.config_set("maxmemory", 0)
            await redis.config_set("maxmemory-policy", "noeviction")
    assert _summary(problems) == [("redis", "eviction", "failed")]
    assert "CONFIG SET maxmemory-policy noeviction`" in problems[0]["remedy"]
    assert ("redis", "memory", "warning") in _summary(full)


async def test_workers_that_are_dead_or_wait(setup: Setup) -> None:
    with suppress(StorageUnavailable), setup.breakers[STORAGE].guard():
        raise StorageUnavailable("refused")
    await _wait_for_workers(setup.stores, lambda workers: any(worker.open for worker in workers))
    problems = await setup.look("workers")
    assert _summary(problems) == [("workers", "alive", "warning")]
    assert problems[0]["seen"] == "1 alive; one:1 waits for storage"
    problems = await setup.look("workers", REDIS__URL=_with(setup.stores.redis_url, path="/7"))
    assert _summary(problems) == [("workers", "alive", "failed")]
    assert "python -m worker.main" in problems[0]["remedy"]
    unknown = await setup.examine("--only", "workers", REDIS__URL=_with(setup.stores.redis_url, port=1))
    assert "not checked: Redis, which knows, does not say" in unknown.out


async def test_collections_that_do_not_fit(setup: Setup) -> None:
    collection = Collection(setup.model.collection, setup.model.dim)
    await setup.index.drop(collection)
    (lost,) = await setup.look("qdrant")
    assert "does not exist" in lost["seen"]
    assert "likeness audit --fix" in lost["remedy"]
    await setup.index.ensure(Collection(collection.name, DIM + 1))
    (wrong,) = await setup.look("qdrant")
    assert (wrong["check"], f"{DIM + 1} numbers" in wrong["seen"]) == ("collection", True)
    (unindexed,) = await setup.look(
        "qdrant", SEARCH__ATTRIBUTES=json.dumps({"price": "number"}), DATABASE__URL=await _fitting(setup)
    )
    assert "attributes.price" in unindexed["seen"]
    assert "Restart a worker" in unindexed["remedy"]


async def _fitting(setup: Setup) -> str:
    """Have the database say that the model is as its collection."""
    async with setup.database.begin() as session:
        await session.execute(text("UPDATE embedding_models SET dim = dim + 1"))
    return setup.environment["DATABASE__URL"]


async def test_an_embedder_with_other_models(setup: Setup) -> None:
    await add_model(setup.database, "absent", dim=DIM)
    async with setup.database.begin() as session:
        await session.execute(
            text("UPDATE embedding_models SET preprocess_version = 99 WHERE name = :name"), {"name": MODEL.name}
        )
    other, building = await setup.look("embedder")
    assert (other["check"], other["outcome"], building["outcome"]) == ("model", "failed", "warning")
    assert "another version" in other["seen"]
    assert "EMBEDDER__ALSO=absent/tests" in building["remedy"]
    async with setup.database.begin() as session:
        await session.execute(text("UPDATE embedding_models SET name = 'lines' WHERE name = :n"), {"n": MODEL.name})
    other, _ = await setup.look("embedder")
    assert "EMBEDDER__MODEL=lines and EMBEDDER__PRETRAINED=v1" in other["remedy"]
    assert OTHER_MODEL.label in other["seen"]


async def test_every_embedder_of_a_list_is_examined(setup: Setup) -> None:
    url = setup.environment["EMBEDDER__URL"]
    ran = await setup.examine("--json", "--only", "embedder", EMBEDDER__URL=f"{url}, http://127.0.0.1:1")
    outcomes = {(check["target"], check["check"]): check["outcome"] for check in ran.data["checks"]}
    assert (outcomes[url, "model"], outcomes["http://127.0.0.1:1", "reachable"]) == ("ok", "failed")
    assert outcomes["http://127.0.0.1:1", "model"] == "not_checked"


async def test_clocks_that_differ(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def an_hour_ago() -> datetime:
        return now() - timedelta(hours=1)

    monkeypatch.setattr(postgresql, "now", an_hour_ago)
    monkeypatch.setattr(s3, "now", an_hour_ago)
    (warned,) = await setup.look("postgresql")
    assert (warned["check"], warned["outcome"]) == ("clock", "warning")
    (failed,) = await setup.look("s3")
    assert (failed["check"], failed["outcome"]) == ("clock", "failed")
    assert "timedatectl set-ntp true" in failed["remedy"]
    assert (await setup.examine("--strict", "--only", "postgresql")).status == 1


async def test_servers_that_take_connections_and_say_nothing(setup: Setup) -> None:
    with silent_server() as port:
        silence = f"http://127.0.0.1:{port}"
        ran = await setup.examine(
            "--json",
            DOCTOR__TIMEOUT_S="1",
            DATABASE__URL=_with(setup.stores.database_url, port=port),
            REDIS__URL=_with(setup.stores.redis_url, port=port),
            S3__ENDPOINT=silence,
            QDRANT__URL=silence,
            EMBEDDER__URL=silence,
            LIKENESS_URL=silence,
        )
    silent = {check["dependency"] for check in ran.data["checks"] if "does not answer within 1 s" in check["seen"]}
    assert silent == {"postgresql", "redis", "s3", "qdrant", "embedder", "api"}
    assert ran.status == 1


async def test_wrong_values_are_told_all_at_once(setup: Setup) -> None:
    ran = await setup.examine("--json", DATABASE__POOL_SIZE="many", S3__MAX_CONNECTIONS="0", QDRANT__TIMEOUT_S="-1")
    assert ran.status == 1
    told = sorted(check["seen"].split(":")[0].split()[0] for check in ran.data["checks"])
    assert told == ["DATABASE__POOL_SIZE", "QDRANT__TIMEOUT_S", "S3__MAX_CONNECTIONS"]
    shown = await setup.examine(DATABASE__POOL_SIZE="many")
    assert ("DATABASE__POOL_SIZE" in shown.out, "✗ settings, values" in shown.out) == (True, True)
    assert (await setup.examine("--only", "weather")).status == 2


async def test_a_vector_index_in_a_folder_is_looked_at_and_never_opened(setup: Setup, tmp_path: Path) -> None:
    embedded = {"QDRANT__PATH": str(tmp_path / "vectors")}
    del setup.environment["QDRANT__URL"], setup.environment["QDRANT__API_KEY"]
    (nothing,) = await setup.look("qdrant")
    assert nothing["check"] == "address"
    (missing,) = await setup.look("qdrant", **embedded)
    assert missing["check"] == "folder"
    index = create_vector_index(QdrantSettings(path=tmp_path / "vectors"))
    try:
        (lost,) = await setup.look("qdrant", **embedded)
        assert (lost["check"], "likeness audit --fix" in lost["remedy"]) == ("collection", True)
        await index.ensure(Collection(setup.model.collection, DIM + 1))
        (wrong,) = await setup.look("qdrant", **embedded)
        assert f"vectors of {DIM + 1} numbers" in wrong["seen"]
        ran = await setup.examine("--only", "qdrant", **embedded)
        assert "a process has it open" in ran.out
    finally:
        await index.close()
