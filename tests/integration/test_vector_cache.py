"""Vectors of queries in a real Redis: shared, bounded, never taken on trust, and no loss when they are gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import numpy as np
import pytest
from arq.connections import ArqRedis
from prometheus_client import REGISTRY

from api.settings import CacheSettings
from api.shared_cache import PREFIX, SharedCache
from api.vector_cache import Vector, VectorCache, VectorKey
from common.breakers import Breaker
from common.db.models import EmbeddingModel
from common.errors import QueueUnavailable
from common.settings import BreakerSettings
from deploy.local.stores import Stores
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.redis import connected
from tests.fixtures.rows import DIM, unit_vector

PATIENT = CacheSettings(timeout_s=30)
HASTY = CacheSettings(timeout_s=0.05, vectors=0)
BREAKERS = BreakerSettings(failures=3, pause_s=0.02, probe_timeout_s=30)
MODEL = EmbeddingModel(name="m", pretrained="p", dim=DIM, preprocess_version=1)


def key(text: str = "a red circle") -> VectorKey:
    return VectorKey.of(MODEL, "text", text.encode())


def same(found: Vector | None, vector: Vector) -> bool:
    return found is not None and np.array_equal(found, vector)


def lookups(level: str, outcome: str) -> float:
    labels = {"cache": "text", "level": level, "outcome": outcome}
    return REGISTRY.get_sample_value("likeness_cache_lookups_total", labels) or 0


class Process:
    """What one process has of the cache."""

    def __init__(self, redis: ArqRedis, settings: CacheSettings = PATIENT) -> None:
        self.breaker = Breaker("redis", QueueUnavailable, BREAKERS, lambda _: None)
        self.shared = SharedCache(redis, self.breaker, settings)
        self.cache = VectorCache(settings, self.shared)

    async def find(self, wanted: VectorKey) -> Vector | None:
        found = self.cache.recall([wanted]) or await self.cache.fetch([wanted])
        return found.get(wanted)


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[ArqRedis]:
    async with connected(stores.redis_url) as opened:
        await opened.flushdb()
        yield opened
        await opened.flushdb()


async def the_slot(redis: ArqRedis) -> str:
    (slot,) = await redis.keys(f"{PREFIX}*")
    return str(slot.decode())


async def test_what_one_process_keeps_others_find(redis: ArqRedis) -> None:
    one, other = Process(redis), Process(redis)
    assert await one.find(key()) is None
    await one.cache.keep({key(): unit_vector(1), key("b"): unit_vector(2)})
    before = lookups("redis", "hit"), lookups("process", "hit")
    for _ in range(3):
        assert same(await other.find(key()), unit_vector(1))
    assert (lookups("redis", "hit"), lookups("process", "hit")) == (before[0] + 1, before[1] + 2)
    assert 0 < await redis.ttl((await redis.keys(f"{PREFIX}*"))[0]) <= PATIENT.shared_ttl_s


async def test_vectors_are_of_one_model_one_kind_and_exactly_one_input() -> None:
    other_weights = EmbeddingModel(name="m", pretrained="q", dim=DIM, preprocess_version=1)
    other_preprocess = EmbeddingModel(name="m", pretrained="p", dim=DIM, preprocess_version=2)
    keys = [
        key("a"),
        key("A"),
        key("a "),
        VectorKey.of(MODEL, "picture", b"a"),
        VectorKey.of(other_weights, "text", b"a"),
        VectorKey.of(other_preprocess, "text", b"a"),
    ]
    assert len(set(keys)) == len({each.digest for each in keys}) == len(keys)
    assert VectorKey.of(MODEL, "text", b"a") == key("a")


async def test_nobody_can_change_a_vector_that_is_kept(redis: ArqRedis) -> None:
    process, other = Process(redis), Process(redis)
    given = unit_vector(1)
    await process.cache.keep({key(): given})
    given[0] = 7
    for each in (process, other):
        found = await each.find(key())
        assert found is not None
        assert np.array_equal(found, unit_vector(1))
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "half": lambda kept: kept[: len(kept) // 2],
    "one byte short": lambda kept: kept[:-1],
    "longer": lambda kept: kept + b"\0",
    "one bit flipped": lambda kept: kept[:-1] + bytes([kept[-1] ^ 1]),
    "without its checksum": lambda kept: kept[16:],
    "words": lambda _: b"It works!",
}


@pytest.mark.parametrize("spoilt", SPOILT)
async def test_garbage_in_redis_is_a_miss_and_replaced(redis: ArqRedis, spoilt: str) -> None:
    await Process(redis).cache.keep({key(): unit_vector(1)})
    slot = await the_slot(redis)
    await redis.set(slot, SPOILT[spoilt](await redis.get(slot) or b""))
    assert await Process(redis).find(key()) is None
    await Process(redis).cache.keep({key(): unit_vector(1)})
    assert await Process(redis).find(key()) is not None


async def test_another_type_of_value_is_a_miss_and_replaced(redis: ArqRedis) -> None:
    await Process(redis).cache.keep({key(): unit_vector(1)})
    slot = await the_slot(redis)
    await redis.delete(slot)
    await redis.zadd(slot, {"a sorted set": 1})
    assert await Process(redis).find(key()) is None
    await Process(redis).cache.keep({key(): unit_vector(1)})
    assert await Process(redis).find(key()) is not None


@pytest.mark.parametrize(
    "numbers",
    [[], [1, 0], [0] * DIM, [2] + [0] * (DIM - 1), [float("nan")] * DIM, [float("inf")] + [0] * (DIM - 1)],
    ids=["none", "too few", "zero", "too long", "not numbers", "infinite"],
)
async def test_what_is_no_vector_of_the_model_is_a_miss(redis: ArqRedis, numbers: list[float]) -> None:
    process = Process(redis)
    await process.shared.keep({key().digest: np.array(numbers, "<f4").tobytes()})
    assert await process.find(key()) is None


async def test_redis_is_bounded_whatever_is_asked_for(redis: ArqRedis) -> None:
    process = Process(redis, CacheSettings(shared_vectors=8, vectors=0, timeout_s=30))
    keys = [key(str(number)) for number in range(100)]
    vectors = {each: unit_vector(number) for number, each in enumerate(keys)}
    await process.cache.keep(vectors)
    assert len(await redis.keys("*")) <= 8
    found = await process.cache.fetch(keys)
    assert 0 < len(found) <= 8
    assert all(np.array_equal(vector, vectors[each]) for each, vector in found.items()), "none is another's"


async def test_redis_that_goes_away_midway_is_not_asked_for_long(stores: Stores, redis: ArqRedis) -> None:
    """It is slower, then not even that; when Redis is back, so is the cache."""
    async with FaultProxy(urlsplit(stores.redis_url).port or 0) as line:
        url = stores.redis_url.replace(f":{urlsplit(stores.redis_url).port}", f":{line.port}")
        async with connected(url) as through:
            process = Process(through, HASTY.model_copy(update={"timeout_s": 30}))
            await process.cache.keep({key(): unit_vector(1)})
            assert await process.find(key()) is not None
            await line.refuse()
            before = lookups("redis", "unavailable")
            for _ in range(10):
                assert await process.find(key()) is None
                await process.cache.keep({key(): unit_vector(1)})
            assert lookups("redis", "unavailable") - before == 10
            assert not process.breaker.closed
            await line.heal()
            await healed(process)
            assert same(await process.find(key()), unit_vector(1))
            await process.breaker.close()


async def test_redis_that_hangs_holds_nobody_up_and_answers_nobody_else_later(stores: Stores, redis: ArqRedis) -> None:
    async with FaultProxy(urlsplit(stores.redis_url).port or 0) as line:
        url = stores.redis_url.replace(f":{urlsplit(stores.redis_url).port}", f":{line.port}")
        async with connected(url) as through:
            process = Process(through, HASTY)
            keys = [key(str(number)) for number in range(20)]
            vectors = {each: unit_vector(number) for number, each in enumerate(keys)}
            await Process(redis).cache.keep(vectors)
            line.stall()
            async with asyncio.timeout(60):
                assert await asyncio.gather(*(process.find(each) for each in keys)) == [None] * len(keys)
            assert not process.breaker.closed
            await line.heal()
            await healed(process)
            patient = Process(through)
            for each in keys:
                assert same(await patient.find(each), vectors[each])
            await process.breaker.close()


async def healed(process: Process) -> None:
    async with asyncio.timeout(60):
        while not process.breaker.closed:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
