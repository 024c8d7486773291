"""A service that fails to start: nothing of it goes on, in a process that may start it again."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from pydantic import SecretStr

from api.lifespan import ApiState, open_state
from api.settings import ApiSettings
from common.errors import StorageUnavailable
from common.settings import BreakerSettings, DatabaseSettings, QdrantSettings, S3Settings
from worker.context import WorkerContext, open_worker
from worker.settings import WorkerSettings

NOWHERE = "http://127.0.0.1:1"
AT_ONCE = BreakerSettings(failures=1, pause_s=3600)


def probes() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "Breaker._heal" in repr(task)]


@pytest.mark.parametrize("service", ["api", "worker"])
async def test_no_probe_of_an_open_breaker_is_left_over(database_url: str, service: str) -> None:
    database = DatabaseSettings(url=SecretStr(database_url))
    s3, qdrant = S3Settings(endpoint=NOWHERE), QdrantSettings(url=NOWHERE)
    opening: AbstractAsyncContextManager[ApiState | WorkerContext] = (
        open_state(ApiSettings(database=database, s3=s3, qdrant=qdrant, breakers=AT_ONCE))
        if service == "api"
        else open_worker(WorkerSettings(database=database, s3=s3, qdrant=qdrant, breakers=AT_ONCE))
    )
    with pytest.raises(StorageUnavailable):
        async with opening:
            pytest.fail("there is no object store")
    assert probes() == []
