"""A worker whose object store hangs: it claims nothing that needs it, and goes on by itself when it is back."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prometheus_client import REGISTRY

from common.breakers import STORAGE
from common.db.engine import Database
from common.db.models import TRIES
from common.settings import BreakerSettings
from common.vectors.base import VectorIndex
from tests.fixtures import pictures
from tests.fixtures.proxy import proxy_to
from tests.fixtures.rows import create_folder, load
from tests.fixtures.uploading import settled, uploaded_ids
from worker.context import open_worker
from worker.main import run_worker
from worker.settings import WorkerSettings


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)


def at_gate() -> float:
    return REGISTRY.get_sample_value("likeness_images_at_gate") or 0


async def test_a_store_that_hangs_stops_the_claims_that_need_it_until_it_is_back(
    client: httpx.AsyncClient, database: Database, worker_settings: WorkerSettings, vectors: VectorIndex
) -> None:
    known = pictures.jpeg(seed=40)
    async with proxy_to(urlsplit(worker_settings.s3.endpoint).port or 0) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        s3 = worker_settings.s3.model_copy(update={"endpoint": endpoint, "timeout_s": 1, "read_timeout_s": 1})
        settings = worker_settings.model_copy(
            update={"s3": s3, "breakers": BreakerSettings(failures=1, pause_s=0.05, probe_timeout_s=5)}
        )
        stop = asyncio.Event()
        async with open_worker(settings, vectors) as context:
            running = asyncio.create_task(run_worker(context, settings, stop))
            await settled(client, await uploaded_ids(client, known))
            proxy.stall()
            (in_flight,) = await uploaded_ids(client, pictures.jpeg(seed=41))
            await until(lambda: not context.breakers[STORAGE].closed)
            (later,) = await uploaded_ids(client, pictures.jpeg(seed=42))
            await until(lambda: at_gate() >= 1)
            folder = await create_folder(database)
            again = await uploaded_ids(client, known, folder_id=str(folder))
            assert (await settled(client, again))[again[0]]["status"] == "done", "its vector is cached"
            waiting = await load(database, UUID(later))
            assert (waiting.status, waiting.attempt) == ("pending", 0)
            proxy.go_on()
            states = await settled(client, [in_flight, later])
            assert {state["status"] for state in states.values()} == {"done"}
            stop.set()
            await running
    for id_ in (in_flight, later):
        assert (await load(database, UUID(id_))).tries_left == TRIES - 1, "the outage cost no try"
    assert (await load(database, UUID(later))).attempt == 1
