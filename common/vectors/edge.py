"""The vector index in this process: Qdrant Edge in a folder, for one machine and small collections."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.attributes import Declared
from common.errors import ConfigurationError, LikenessError, VectorIndexUnavailable
from common.vectors.base import (
    Collection,
    Facet,
    Facetable,
    Filter,
    Match,
    Payload,
    Point,
    next_id,
    validate_points,
    validate_query,
)
from common.vectors.edge_shard import BATCH, Shard
from common.vectors.ranking import order_facets, settle_order

Answer = TypeVar("Answer")


class EdgeIndex:
    """A `VectorIndex` in a folder that belongs to this process while the index is open.

    A thread writes, as writes wait for the disk. Reads are done where they are asked for: the engine's calls hold the
    interpreter's lock, so that on a thread they would stop everything all the same, and come later by two changes of
    threads. What takes several calls lets others have their turn in between.
    """

    def __init__(self, path: Path, *, timeout_s: float, attributes: Declared | None = None) -> None:
        """Lock the folder, creating it if need be; `timeout_s` is how long a write may wait and take.

        `attributes` are those that filters may ask for.

        Raises:
            ConfigurationError: the folder can't be made or locked, another process has it open.
        """
        self._path = path
        self._timeout_s = timeout_s
        self._attributes = attributes or {}
        self._lock = _lock(path)
        self._shards: dict[Collection, Shard] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="vectors-write")
        self._closed = False

    async def ensure(self, collection: Collection) -> None:
        """See `VectorIndex.ensure`. Opening may take a while, and is bounded by no timeout."""
        if collection not in self._shards:
            await self._write(lambda: self._open(collection), bounded=False)

    async def upsert(self, collection: Collection, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`."""
        validate_points(collection, points)
        if points:
            await self._write(lambda: self._shard(collection).upsert(points))

    async def set_payload(self, collection: Collection, id: UUID, payload: Payload) -> None:  # noqa: A002
        """See `VectorIndex.set_payload`."""
        await self._write(lambda: self._shard(collection).set_payload(id, payload))

    async def delete(self, collection: Collection, ids: Sequence[UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            await self._write(lambda: self._shard(collection).delete(ids))

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
        """See `VectorIndex.query`."""
        validate_query(collection, vector, limit)
        numbers = vector.tolist()

        async def search(size: int) -> list[Match]:
            with self._reading(collection) as shard:
                return shard.query(numbers, filter, limit=size, min_score=min_score)

        return await settle_order(search, limit, exclude)

    async def facet(
        self,
        collection: Collection,
        field: Facetable,
        *,
        filter: Filter,  # noqa: A002
        limit: int,
    ) -> list[Facet]:
        """See `VectorIndex.facet`."""
        with self._reading(collection) as shard:
            return order_facets(shard.facet(field, filter, limit))

    async def fetch(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, NDArray[np.float32]]:
        """See `VectorIndex.fetch`."""
        return await self._collect(collection, ids, Shard.fetch)

    async def fetch_payloads(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """See `VectorIndex.fetch_payloads`."""
        return await self._collect(collection, ids, Shard.fetch_payloads)

    async def scroll(self, collection: Collection, *, after: UUID | None = None, limit: int) -> list[UUID]:
        """See `VectorIndex.scroll`."""
        begin = next_id(after)
        if begin is None:
            return []
        with self._reading(collection) as shard:
            return shard.scroll(begin, limit)

    async def count(self, collection: Collection) -> int:
        """See `VectorIndex.count`."""
        with self._reading(collection) as shard:
            return shard.count()

    async def drop(self, collection: Collection) -> None:
        """See `VectorIndex.drop`."""
        shard = self._shards.pop(collection, None)
        await self._write(lambda: self._drop(collection, shard), bounded=False)

    async def ping(self) -> None:
        """See `VectorIndex.ping`. Says whether writes get their turn."""
        await self._write(lambda: None)

    async def close(self) -> None:
        """See `VectorIndex.close`. Waits for the calls that are under way."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(_translated, self._close)

    async def _write(self, call: Callable[[], Answer], *, bounded: bool = True) -> Answer:
        self._require_open()
        try:
            async with asyncio.timeout(self._timeout_s if bounded else None):
                return await asyncio.get_running_loop().run_in_executor(self._writer, _translated, call)
        except TimeoutError as error:
            raise VectorIndexUnavailable(f"the vector index was busy for {self._timeout_s:g} s") from error

    async def _collect(
        self,
        collection: Collection,
        ids: Sequence[UUID],
        read: Callable[[Shard, Sequence[UUID]], dict[UUID, Answer]],
    ) -> dict[UUID, Answer]:
        """Read few points at a time, letting others have their turn in between."""
        found: dict[UUID, Answer] = {}
        for start in range(0, len(ids), BATCH):
            if start:
                await asyncio.sleep(0)
            with self._reading(collection) as shard:
                found |= read(shard, ids[start : start + BATCH])
        return found

    def _reading(self, collection: Collection) -> "_Reading":
        self._require_open()
        return _Reading(self._shard(collection))

    def _require_open(self) -> None:
        if self._closed:
            raise VectorIndexUnavailable("the vector index is closed")

    def _shard(self, collection: Collection) -> Shard:
        if (shard := self._shards.get(collection)) is None:
            raise VectorIndexUnavailable(f"collection {collection.name!r} is not open; `ensure` opens it")
        return shard

    def _open(self, collection: Collection) -> None:
        if collection not in self._shards:  # another call to `ensure` may have come first
            self._shards[collection] = Shard.open(self._path, collection, self._attributes)

    def _drop(self, collection: Collection, shard: Shard | None) -> None:
        if shard is not None:
            shard.close()
        Shard.remove(self._path, collection)

    def _close(self) -> None:
        self._writer.shutdown()
        try:
            for shard in self._shards.values():
                shard.close()
        finally:
            os.close(self._lock)


def _lock(path: Path) -> int:
    """Lock a folder until the returned descriptor is closed, by the end of the process at the latest."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"QDRANT__PATH: {path} can't be the folder of the vector index: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigurationError(
            f"QDRANT__PATH: the vector index in {path} is open in another process, and only one can have it; "
            "stop the other one, or run a Qdrant server for both and set QDRANT__URL"
        ) from error
    return descriptor


def _translated(call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except BaseException as error:
        _translate(error)
        raise


class _Reading:
    """Reads from a shard inside; as a generator, it would take longer than some of what is read."""

    __slots__ = ("_shard",)

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def __enter__(self) -> Shard:
        return self._shard

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            _translate(error)


def _translate(error: BaseException) -> None:
    """Raise our error for one of the engine's: a bare exception, or a panic, which is not even that."""
    if not isinstance(error, LikenessError | KeyboardInterrupt | SystemExit):
        raise VectorIndexUnavailable(f"Qdrant Edge failed: {error}") from error
