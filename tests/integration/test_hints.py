"""The worker's loops around a real Redis: hints wake it, outages of Redis do not end it, a stop is orderly."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import structlog
from arq.connections import ArqRedis
from arq.worker import Worker
from pydantic import SecretStr

from common import jobs
from common.breakers import Breakers
from common.settings import BreakerSettings, RedisSettings
from deploy.local.stores import Stores
from worker import main
from worker.context import WorkerContext
from worker.main import run_worker
from worker.settings import PipelineSettings, WorkerSettings


class Loop:
    """A loop that runs until cancelled, or dies."""

    def __init__(self, error: Exception | None = None) -> None:
        self.running = False
        self._error = error

    async def run(self) -> None:
        self.running = True
        try:
            if self._error is not None:
                raise self._error
            await asyncio.Event().wait()
        finally:
            self.running = False


class RecordingPipeline:
    """Takes ids; remembers what still ran when it was stopped."""

    def __init__(self) -> None:
        self.ids: asyncio.Queue[UUID] = asyncio.Queue()
        self.stopped_with: tuple[float, bool, bool] | None = None
        self.leases = Loop()
        self.sweeper = Loop()

    async def process_all(self, ids: Iterable[UUID]) -> None:
        for id_ in ids:
            self.ids.put_nowait(id_)

    async def stop(self, grace_s: float) -> None:
        self.stopped_with = (grace_s, self.leases.running, self.sweeper.running)

    @property
    def context(self) -> WorkerContext:
        parts = SimpleNamespace(
            pipeline=self,
            leases=self.leases,
            sweeper=self.sweeper,
            operations=[Loop(), Loop()],
            audit_schedule=Loop(),
            downloads=Loop(),
            duplicates=Loop(),
            census=Loop(),
            breakers=Breakers("tests", BreakerSettings()),
        )
        return cast(WorkerContext, parts)


def settings_for(url: str) -> WorkerSettings:
    return WorkerSettings(redis=RedisSettings(url=SecretStr(url)), worker=PipelineSettings(stop_grace_s=7))


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[ArqRedis]:
    opened = jobs.create_redis(RedisSettings(url=SecretStr(stores.redis_url)))
    await opened.flushdb()
    yield opened
    await opened.flushdb()
    await opened.aclose(close_connection_pool=True)


@pytest.fixture
async def pipeline(stores: Stores) -> AsyncIterator[RecordingPipeline]:
    """The pipeline of a worker that runs until the test ends."""
    recording, stop = RecordingPipeline(), asyncio.Event()
    running = asyncio.create_task(run_worker(recording.context, settings_for(stores.redis_url), stop))
    yield recording
    stop.set()
    await running


async def next_id(pipeline: RecordingPipeline) -> UUID:
    async with asyncio.timeout(60):
        return await pipeline.ids.get()


async def test_a_hint_reaches_the_pipeline(redis: ArqRedis, pipeline: RecordingPipeline) -> None:
    ids = {uuid4() for _ in range(100)}
    await jobs.hint(redis, list(ids))
    assert {await next_id(pipeline) for _ in ids} == ids


async def test_a_hint_given_while_no_worker_ran_is_heard_later(redis: ArqRedis, stores: Stores) -> None:
    wanted = uuid4()
    await jobs.hint(redis, [wanted])
    recording, stop = RecordingPipeline(), asyncio.Event()
    running = asyncio.create_task(run_worker(recording.context, settings_for(stores.redis_url), stop))
    assert await next_id(recording) == wanted
    stop.set()
    await running


async def test_nonsense_in_the_queue_ends_no_worker(redis: ArqRedis, pipeline: RecordingPipeline) -> None:
    await redis.enqueue_job(jobs.PROCESS_IMAGES, ["not an id"])
    await redis.enqueue_job("no_such_task", 1)
    await redis.zadd(jobs.QUEUE, {"forged": 1})
    await redis.set("arq:job:forged", b"\x80\x04cos\nsystem\n")
    wanted = uuid4()
    await jobs.hint(redis, [wanted])
    assert await next_id(pipeline) == wanted


async def test_hints_go_on_after_redis_was_wiped(redis: ArqRedis, pipeline: RecordingPipeline) -> None:
    first, second = uuid4(), uuid4()
    await jobs.hint(redis, [first])
    assert await next_id(pipeline) == first
    await redis.flushall()
    await jobs.hint(redis, [second])
    assert await next_id(pipeline) == second


async def test_hints_go_on_after_all_connections_were_cut(redis: ArqRedis, pipeline: RecordingPipeline) -> None:
    first, second = uuid4(), uuid4()
    await jobs.hint(redis, [first])
    assert await next_id(pipeline) == first
    await redis.client_kill_filter(_type="normal", skipme=True)
    await jobs.hint(redis, [second])
    assert await next_id(pipeline) == second


async def test_a_stop_waits_for_the_last_words_on_a_job(
    redis: ArqRedis, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, stop, said, may_end = RecordingPipeline(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    finish = Worker.finish_job

    async def finish_late(*args: Any) -> None:
        said.set()
        await may_end.wait()
        await finish(*args)

    monkeypatch.setattr(Worker, "finish_job", finish_late)
    running = asyncio.create_task(run_worker(recording.context, settings_for(stores.redis_url), stop))
    await jobs.hint(redis, [uuid4()])
    async with asyncio.timeout(60):
        await said.wait()
    stop.set()
    ended, _ = await asyncio.wait([running], timeout=0.5)
    assert not ended
    may_end.set()
    await running
    assert await redis.zcard(jobs.QUEUE) == 0


async def test_without_redis_a_worker_works_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_REDIS_PAUSE_S", 0.01)
    create = jobs.create_redis
    monkeypatch.setattr(jobs, "create_redis", lambda redis, **_: create(redis, retries=0))
    recording, stop = RecordingPipeline(), asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(run_worker(recording.context, settings_for("redis://127.0.0.1:1/0"), stop))
        async with asyncio.timeout(60):
            while [entry["event"] for entry in logs].count("hints_unavailable") < 2:  # noqa: ASYNC110 - a list of logs
                await asyncio.sleep(0.01)
        assert recording.sweeper.running, "the sweep needs no hints"
        stop.set()
        await running
    assert recording.stopped_with == (7.0, True, False)


async def test_a_stop_ends_the_intake_first_and_renews_leases_to_the_last(stores: Stores) -> None:
    recording, stop = RecordingPipeline(), asyncio.Event()
    running = asyncio.create_task(run_worker(recording.context, settings_for(stores.redis_url), stop))
    await asyncio.sleep(0)  # the loops start
    stop.set()
    await running
    assert recording.stopped_with == (7.0, True, False)
    assert not recording.leases.running


@pytest.mark.parametrize("which", ["leases", "sweeper"])
async def test_a_loop_that_dies_of_a_defect_ends_the_worker(stores: Stores, which: str) -> None:
    recording = RecordingPipeline()
    setattr(recording, which, Loop(KeyError("a bug")))
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_worker(recording.context, settings_for(stores.redis_url), asyncio.Event())
    assert caught.group_contains(KeyError)
    assert not recording.leases.running
    assert not recording.sweeper.running


async def test_a_hint_on_a_connection_that_uvloop_has_closed_is_lost_and_no_defect(
    redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(*_: Any, **__: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    monkeypatch.setattr(redis, "enqueue_job", closed)
    with structlog.testing.capture_logs() as logs:
        await jobs.hint(redis, [uuid4()])
    assert [entry["event"] for entry in logs] == ["hint_lost"]
