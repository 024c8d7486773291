"""Store and index behind their breakers: while they are open, every call but `ping` is refused."""

from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any, cast
from uuid import uuid4

import pytest

from common.breakers import Breaker
from common.errors import InfrastructureError, StorageUnavailable, VectorIndexUnavailable
from common.guards import GuardedObjectStore, GuardedVectorIndex
from common.settings import BreakerSettings
from common.vectors.base import Collection, Filter, VectorIndex
from tests.fakes.object_store import MemoryObjectStore
from tests.fixtures.rows import unit_vector

COLLECTION = Collection("tests", 4)
SETTINGS = BreakerSettings(failures=2, pause_s=3600)


def make_breaker(failure: type[InfrastructureError]) -> Breaker:
    return Breaker("dependency", failure, SETTINGS, lambda _: None)


async def first_chunk(store: GuardedObjectStore) -> bytes:
    return await anext(store.stream("key"))


STORE_CALLS: dict[str, Callable[[GuardedObjectStore], Awaitable[object]]] = {
    "put": lambda store: store.put("key", BytesIO(b"data"), 4, "image/png"),
    "get": lambda store: store.get("key", max_bytes=10),
    "stream": first_chunk,
    "find": lambda store: store.find("key"),
    "delete": lambda store: store.delete("key"),
    "ensure_bucket": lambda store: store.ensure_bucket(),
}


@pytest.mark.parametrize("name", STORE_CALLS)
async def test_a_store_that_fails_is_asked_no_more(name: str) -> None:
    memory = MemoryObjectStore()
    memory.down = True
    breaker = make_breaker(StorageUnavailable)
    store = GuardedObjectStore(memory, breaker)
    for _ in range(SETTINGS.failures):
        with pytest.raises(StorageUnavailable, match="it is down"):
            await STORE_CALLS[name](store)
    memory.down = False
    with pytest.raises(StorageUnavailable, match="not asked"):
        await STORE_CALLS[name](store)
    await store.ping()
    await breaker.close()


async def test_a_guarded_store_is_the_store() -> None:
    store = GuardedObjectStore(MemoryObjectStore(), make_breaker(StorageUnavailable))
    await store.ensure_bucket()
    await store.put("key", BytesIO(b"0123456789"), 10, "image/png")
    assert await store.get("key", max_bytes=10) == b"0123456789"
    assert b"".join([chunk async for chunk in store.stream("key", offset=2, length=3)]) == b"234"
    found = await store.find("key")
    assert found is not None
    assert found.size == 10
    await store.delete("key")
    assert await store.find("key") is None
    await store.close()


class DeadIndex:
    """A vector index of which every call fails."""

    def __getattr__(self, name: str) -> Any:
        async def call(*_: object, **__: object) -> None:
            raise VectorIndexUnavailable("it is down")

        return call


INDEX_CALLS: dict[str, Callable[[GuardedVectorIndex], Awaitable[object]]] = {
    "ensure": lambda index: index.ensure(COLLECTION),
    "upsert": lambda index: index.upsert(COLLECTION, []),
    "delete": lambda index: index.delete(COLLECTION, []),
    "facet": lambda index: index.facet(COLLECTION, "tags", filter=Filter(uuid4()), limit=1),
    "query": lambda index: index.query(COLLECTION, unit_vector(), filter=Filter(uuid4()), limit=1),
    "fetch": lambda index: index.fetch(COLLECTION, []),
    "drop": lambda index: index.drop(COLLECTION),
    "count": lambda index: index.count(COLLECTION),
    "set_payload": lambda index: index.set_payload(COLLECTION, uuid4(), cast(Any, None)),
}


@pytest.mark.parametrize("name", INDEX_CALLS)
async def test_an_index_that_fails_is_asked_no_more(name: str) -> None:
    breaker = make_breaker(VectorIndexUnavailable)
    index = GuardedVectorIndex(cast(VectorIndex, DeadIndex()), breaker)
    for _ in range(SETTINGS.failures):
        with pytest.raises(VectorIndexUnavailable, match="it is down"):
            await INDEX_CALLS[name](index)
    with pytest.raises(VectorIndexUnavailable, match="not asked"):
        await INDEX_CALLS[name](index)
    with pytest.raises(VectorIndexUnavailable, match="it is down"):
        await index.ping()
    await breaker.close()
