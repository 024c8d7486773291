"""The object store and the vector index behind their breakers, each call a span of its own.

`ping` is what probes, so it always goes through. A streamed object has no span: it lasts as long as somebody reads.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import BinaryIO
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Histogram

from common import tracing
from common.breakers import Breaker
from common.metrics import SHORT_SECONDS
from common.storage import MAX_LISTED, ListedObject, ObjectInfo, ObjectStore
from common.vectors.base import Collection, Facet, Facetable, Filter, Match, Payload, Point, VectorIndex

STORAGE_SECONDS = Histogram(
    "likeness_storage_call_seconds",
    "Time of a call to the object store, failed ones included; of a stream, until its reader has it all.",
    ["operation"],
    buckets=SHORT_SECONDS,
)
VECTOR_SECONDS = Histogram(
    "likeness_vector_call_seconds",
    "Time of a call to the vector index, failed ones included; `query`: for searches and duplicates.",
    ["operation"],
    buckets=SHORT_SECONDS,
)


class _Calls:
    """The calls to one dependency: guarded by its breaker, and timed when they are made."""

    def __init__(self, name: str, breaker: Breaker, seconds: Histogram) -> None:
        self._name = name
        self._breaker = breaker
        self._seconds = seconds

    def guard(self, operation: str, *, proves: bool = True) -> "_Call":
        """Make a call inside; see `Breaker.guard`."""
        # A stream's span would be current for its reader, as long as that reads.
        span = tracing.NO_SPAN if operation == "stream" else tracing.span(f"{self._name} {operation}", "client")
        return _Call(span, self._breaker, self._seconds.labels(operation), proves)


class _Call:
    """A call under way, see `_Calls.guard`; as a generator, it would take twice as long."""

    __slots__ = ("_breaker", "_proves", "_seconds", "_span", "_started")

    def __init__(self, span: tracing.Span, breaker: Breaker, seconds: Histogram, proves: bool) -> None:
        self._span = span
        self._breaker = breaker
        self._seconds = seconds
        self._proves = proves

    def __enter__(self) -> None:
        self._breaker.check()
        self._span.__enter__()
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._seconds.observe(time.perf_counter() - self._started)
            self._breaker.settle(error, proves=self._proves)
        finally:
            self._span.__exit__(kind, error, trace)


class GuardedObjectStore:
    """An `ObjectStore` that is not asked while its breaker is open. Closing it closes the store."""

    def __init__(self, store: ObjectStore, breaker: Breaker) -> None:
        self._store = store
        self._calls = _Calls("s3", breaker, STORAGE_SECONDS)
        breaker.probe_with(store.ping)

    async def put(self, key: str, data: BinaryIO, size: int, media_type: str) -> None:
        """See `ObjectStore`."""
        with self._calls.guard("put"):
            await self._store.put(key, data, size, media_type)

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """See `ObjectStore`."""
        with self._calls.guard("get"):
            return await self._store.get(key, max_bytes=max_bytes)

    async def stream(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See `ObjectStore`."""
        with self._calls.guard("stream"):
            async with aclosing(self._store.stream(key, offset=offset, length=length)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def find(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        with self._calls.guard("find"):
            return await self._store.find(key)

    async def list_objects(self, prefix: str, *, after: str = "", limit: int = MAX_LISTED) -> list[ListedObject]:
        """See `ObjectStore`."""
        with self._calls.guard("list_objects"):
            return await self._store.list_objects(prefix, after=after, limit=limit)

    async def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        with self._calls.guard("delete"):
            await self._store.delete(key)

    async def ensure_bucket(self) -> None:
        """See `ObjectStore`."""
        with self._calls.guard("ensure_bucket"):
            await self._store.ensure_bucket()

    async def ping(self) -> None:
        """See `ObjectStore`."""
        await self._store.ping()

    async def close(self) -> None:
        """See `ObjectStore`."""
        await self._store.close()


class GuardedVectorIndex:
    """A `VectorIndex` that is not asked while its breaker is open. Closing it closes the index."""

    def __init__(self, index: VectorIndex, breaker: Breaker) -> None:
        self._index = index
        self._calls = _Calls("vectors", breaker, VECTOR_SECONDS)
        breaker.probe_with(index.ping)

    async def ensure(self, collection: Collection) -> None:
        """See `VectorIndex`."""
        with self._calls.guard("ensure", proves=False):  # what is known to be there is not asked for
            await self._index.ensure(collection)

    async def upsert(self, collection: Collection, points: Sequence[Point]) -> None:
        """See `VectorIndex`."""
        with self._calls.guard("upsert"):
            await self._index.upsert(collection, points)

    async def set_payload(self, collection: Collection, id: UUID, payload: Payload) -> None:  # noqa: A002
        """See `VectorIndex`."""
        with self._calls.guard("set_payload"):
            await self._index.set_payload(collection, id, payload)

    async def delete(self, collection: Collection, ids: Sequence[UUID]) -> None:
        """See `VectorIndex`."""
        with self._calls.guard("delete"):
            await self._index.delete(collection, ids)

    async def query(
        self,
        collection: Collection,
        vector: NDArray[np.float32],
        *,
        filter: Filter,  # noqa: A002
        limit: int,
        min_score: float | None = None,
        exclude: Sequence[UUID] = (),
    ) -> list[Match]:
        """See `VectorIndex`."""
        with self._calls.guard("query"):
            return await self._index.query(
                collection, vector, filter=filter, limit=limit, min_score=min_score, exclude=exclude
            )

    async def facet(
        self,
        collection: Collection,
        field: Facetable,
        *,
        filter: Filter,  # noqa: A002
        limit: int,
    ) -> list[Facet]:
        """See `VectorIndex`."""
        with self._calls.guard("facet"):
            return await self._index.facet(collection, field, filter=filter, limit=limit)

    async def fetch(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, NDArray[np.float32]]:
        """See `VectorIndex`."""
        with self._calls.guard("fetch"):
            return await self._index.fetch(collection, ids)

    async def fetch_payloads(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """See `VectorIndex`."""
        with self._calls.guard("fetch_payloads"):
            return await self._index.fetch_payloads(collection, ids)

    async def scroll(self, collection: Collection, *, after: UUID | None = None, limit: int) -> list[UUID]:
        """See `VectorIndex`."""
        with self._calls.guard("scroll"):
            return await self._index.scroll(collection, after=after, limit=limit)

    async def count(self, collection: Collection) -> int:
        """See `VectorIndex`."""
        with self._calls.guard("count"):
            return await self._index.count(collection)

    async def drop(self, collection: Collection) -> None:
        """See `VectorIndex`."""
        with self._calls.guard("drop"):
            await self._index.drop(collection)

    async def ping(self) -> None:
        """See `VectorIndex`."""
        await self._index.ping()

    async def close(self) -> None:
        """See `VectorIndex`."""
        await self._index.close()
