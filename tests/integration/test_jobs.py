"""Hints on a real Redis, on none, and on one that hangs: a lost hint is logged and harms nobody."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from prometheus_client import REGISTRY
from redis.exceptions import TimeoutError as RedisTimeout

from common import correlation, jobs
from common.errors import QueueUnavailable
from deploy.local.stores import Stores
from tests.fixtures.redis import connected
from tests.fixtures.silence import silent_server
from tests.fixtures.tracing import kept_spans, traceparent_of

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[ArqRedis]:
    async with connected(stores.redis_url) as opened:
        await opened.flushdb()
        yield opened
        await opened.flushdb()


async def queued(redis: ArqRedis) -> list[dict[str, Any]]:
    """Return the jobs in the queue, first come first, as they stand in Redis."""
    ids = [id_.decode() for id_ in await redis.zrange(jobs.QUEUE, 0, -1)]
    bodies = [await redis.get(job_key_prefix + id_) for id_ in ids]
    return [json.loads(body) for body in bodies if body is not None]


def test_jobs_are_json() -> None:
    job = {"t": 1, "f": "process_images", "a": [["id"]], "k": {}, "et": 1}
    assert jobs.deserialize(jobs.serialize(job)) == json.loads(jobs.serialize(job)) == job


async def test_an_older_worker_finds_the_arguments_it_knows(redis: ArqRedis) -> None:
    with correlation.bound("r-1"):
        await jobs.hint(redis, [uuid4()])
    (job,) = await queued(redis)
    assert (job["k"], job["carried"]) == ({}, {"request_id": "r-1"})
    assert len(job["a"]) == 1


def test_what_a_job_carries_becomes_an_argument() -> None:
    job = {"t": 1, "f": "process_images", "a": [["id"]], "k": {"carried": {"request_id": "r-1"}}, "et": 1}
    assert jobs.deserialize(jobs.serialize(job)) == job


@pytest.mark.parametrize("carried", [None, "r-1", ["r-1"], 7])
def test_what_can_not_have_been_carried_is_left_out(carried: object) -> None:
    job = {"t": 1, "f": "process_images", "a": [["id"]], "k": {}, "et": 1}
    assert jobs.deserialize(json.dumps({**job, "carried": carried}).encode()) == job


async def test_a_hint_carries_the_trace(redis: ArqRedis) -> None:
    with kept_spans() as spans:
        await jobs.hint(redis, [uuid4()])
    (job,) = await queued(redis)
    assert job["carried"] == {"traceparent": traceparent_of(spans.named("redis hint"))}


@pytest.mark.parametrize("number", [0, 1, 64, 65, 200])
async def test_a_hint_carries_ids_alone_and_at_most_64_a_job(redis: ArqRedis, number: int) -> None:
    ids = [uuid4() for _ in range(number)]
    before = hinted("sent")
    await jobs.hint(redis, ids)
    assert hinted("sent") == before + number
    found = await queued(redis)
    assert {job["f"] for job in found} <= {jobs.PROCESS_IMAGES}
    assert all(job["k"] == {} for job in found)
    batches = [batch for job in found for batch in job["a"]]
    assert sorted(id_ for batch in batches for id_ in batch) == sorted(map(str, ids))
    assert all(1 <= len(batch) <= jobs.IDS_PER_JOB for batch in batches)
    assert len(batches) == -(-number // jobs.IDS_PER_JOB)


async def test_the_same_hint_twice_is_two_hints(redis: ArqRedis) -> None:
    ids = [uuid4()]
    await jobs.hint(redis, ids)
    await jobs.hint(redis, ids)
    assert len(await queued(redis)) == 2, "one that is lost must not keep the next from being heard"


def hinted(outcome: str) -> float:
    return REGISTRY.get_sample_value("likeness_hinted_total", {"outcome": outcome}) or 0


async def assert_hint_is_lost(redis: ArqRedis) -> None:
    before = hinted("lost")
    with structlog.testing.capture_logs() as logs:
        await jobs.hint(redis, [uuid4(), uuid4()])
    (entry,) = logs
    assert (entry["event"], entry["images"], entry["log_level"]) == ("hint_lost", 2, "warning")
    assert entry["error"]
    assert hinted("lost") == before + 2


async def test_without_redis_a_hint_is_lost_and_nothing_is_raised() -> None:
    async with connected(NOWHERE) as redis:
        await assert_hint_is_lost(redis)
        with pytest.raises(QueueUnavailable):
            await jobs.ping(redis)


async def test_a_redis_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_HINT_DEADLINE_S", 0.05)
    with silent_server() as port:
        async with connected(f"redis://127.0.0.1:{port}/0") as redis:
            await assert_hint_is_lost(redis)
            with pytest.raises(QueueUnavailable):
                await jobs.ping(redis)


async def test_sockets_have_deadlines_of_their_own() -> None:
    """Without one, a connection whose peer hangs is waited for until the peer is gone."""
    with silent_server() as port:
        async with connected(f"redis://127.0.0.1:{port}/0") as redis:
            with pytest.raises(RedisTimeout):
                async with asyncio.timeout(60):
                    await redis.get("key")


async def test_a_wrong_password_loses_hints_too(stores: Stores) -> None:
    scheme, rest = stores.redis_url.split("://")
    async with connected(f"{scheme}://:wrong@{rest.rsplit('@', 1)[-1]}") as redis:
        await assert_hint_is_lost(redis)


async def test_a_redis_full_of_something_else_loses_hints_too(redis: ArqRedis) -> None:
    await redis.set(jobs.QUEUE, "not a queue")
    await assert_hint_is_lost(redis)


async def test_many_hints_at_once_are_all_heard(redis: ArqRedis) -> None:
    await asyncio.gather(*(jobs.hint(redis, [uuid4()]) for _ in range(200)))
    assert len(await queued(redis)) == 200


async def test_a_connection_that_was_cut_is_replaced(redis: ArqRedis) -> None:
    await jobs.hint(redis, [uuid4()])
    await redis.client_kill_filter(_type="normal", skipme=False)
    await jobs.hint(redis, [uuid4()])
    assert len(await queued(redis)) == 2
