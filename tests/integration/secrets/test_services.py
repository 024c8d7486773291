"""What the services say, at their most talkative and in every trouble: no password and no key is among it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from common.db.models import LOCAL_FOLDER_ID
from deploy.local.stores import Stores
from tests.fixtures import pictures
from tests.fixtures.uploading import settled, upload, uploaded_ids
from tests.integration.secrets.conftest import (
    MARK,
    SECRET,
    USER,
    AssertDiscreet,
    CreateService,
    Lines,
    Service,
    execute,
    set_redis_password,
    with_user,
)

CUT_OFF = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'"  # noqa: S608
WRONG = f"{SECRET}!"


class Running:
    """An api and a worker, and whatever they have answered."""

    def __init__(self, api: Service, worker: Service, client: httpx.AsyncClient) -> None:
        self.api = api
        self.worker = worker
        self.client = client
        self.answers = ""
        client.event_hooks["response"].append(self._keep)

    async def _keep(self, response: httpx.Response) -> None:
        await response.aread()
        self.answers += f"{response.headers}\n{response.text}\n"

    async def ask(self) -> None:
        """Have both say how they are."""
        for service in (self.api, self.worker):
            for path in ("/ready", "/metrics"):
                await self.client.get(service.url + path)

    async def until_ready(self) -> None:
        """Wait until both have all they need."""
        await self.api.until_ready()
        await self.worker.until_ready()

    async def everything_said(self) -> str:
        """Stop both; return their output and answers."""
        await self.api.stop()
        await self.worker.stop()
        return self.api.output + self.worker.output + self.answers


@pytest.fixture
async def running(create_service: CreateService) -> AsyncIterator[Running]:
    api, worker = create_service("api.main"), create_service("worker.main")
    api.start()
    worker.start()
    async with httpx.AsyncClient(base_url=api.url, timeout=60, trust_env=False) as client:
        both = Running(api, worker, client)
        await both.until_ready()
        yield both


async def test_in_every_trouble(
    running: Running, lines: Lines, stores: Stores, database_url: str, assert_discreet: AssertDiscreet
) -> None:
    await settled(running.client, await uploaded_ids(running.client, pictures.jpeg(seed=1)))
    await let_stores_come_and_go(running, lines)
    await meet_defects(running, database_url)
    await change_passwords(running, stores, database_url)
    said = await running.everything_said()
    assert '"level": "debug"' in said, "they were at their most talkative"
    assert said.count('"frames"') >= 2, "both have told where the defects are"
    assert_discreet(said)


async def let_stores_come_and_go(running: Running, lines: Lines) -> None:
    """Cut the line to each store until the api has noticed."""
    words = {lines.database: "database_unavailable", lines.redis: "hint_lost", lines.storage: "storage_unavailable"}
    for seed, (line, word) in enumerate(words.items()):
        await line.refuse()
        await upload(running.client, pictures.jpeg(seed=10 + seed))
        await running.api.until_said(word)
        await running.ask()
        await line.heal()
        await running.until_ready()
    await settled(running.client, await uploaded_ids(running.client, pictures.jpeg(seed=2)))


async def meet_defects(running: Running, database_url: str) -> None:
    """Have a stage, and a request, fail in a way that nobody expects; no loop of the worker, for that would end it."""
    await execute(database_url, "ALTER TABLE embeddings RENAME TO elsewhere")
    await uploaded_ids(running.client, pictures.jpeg(seed=3))
    await running.worker.until_said("UndefinedTableError")
    # No worker reads this one: a sweep that meets a defect ends its process.
    await execute(database_url, "ALTER TABLE folders RENAME TO gone")
    answer = await upload(running.client, pictures.jpeg(seed=3), folder_id=str(LOCAL_FOLDER_ID))
    assert answer.status_code == 500
    await running.api.until_said("UndefinedTableError")
    await execute(database_url, "ALTER TABLE gone RENAME TO folders", "ALTER TABLE elsewhere RENAME TO embeddings")


async def change_passwords(running: Running, stores: Stores, database_url: str) -> None:
    """Have the stores know other passwords than the services do."""
    await set_redis_password(stores, "another")
    await uploaded_ids(running.client, pictures.jpeg(seed=4))
    await running.api.until_said("hint_lost")
    await running.worker.until_said("hints_unavailable")
    await execute(database_url, f"ALTER ROLE {USER} PASSWORD 'another'", CUT_OFF)
    assert (await upload(running.client, pictures.jpeg(seed=5))).status_code == 503
    await running.worker.until_said("InvalidPasswordError")
    await running.ask()


@pytest.mark.parametrize("wrong", ["database password", "storage key", "queue address", "settings"])
async def test_by_a_start_that_fails(
    create_service: CreateService, guarded_database: str, assert_discreet: AssertDiscreet, wrong: str
) -> None:
    settings = {
        "database password": {"DATABASE__URL": with_user(guarded_database, WRONG)},
        "storage key": {"S3__SECRET_KEY": WRONG},
        "queue address": {"REDIS__URL": f"redis://:a@127.0.0.1:{MARK}/0"},
        "settings": {"QDRANT__URL": "a", "QDRANT__PATH": "b"},
    }
    services = [create_service(module, **settings[wrong]) for module in ("api.main", "worker.main")]
    for service in services:
        service.start()
    for service in services:
        assert await service.wait() != 0
        assert_discreet(service.output)
