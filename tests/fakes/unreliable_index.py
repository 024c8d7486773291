"""A real vector index that can be down, and remembers what it was asked."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.errors import VectorIndexUnavailable
from common.vectors.base import Collection, Facet, Facetable, Filter, Match, Payload, Point, VectorIndex


class UnreliableIndex:
    """Passes every call on, unless `down`."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        self.down = False
        self.calls: list[str] = []
        self.payloads: list[Payload] = []

    async def ensure(self, collection: Collection) -> None:
        """See `VectorIndex`."""
        self._answer("ensure")
        await self._index.ensure(collection)

    async def upsert(self, collection: Collection, points: Sequence[Point]) -> None:
        """See `VectorIndex`."""
        self._answer("upsert")
        await self._index.upsert(collection, points)

    async def set_payload(self, collection: Collection, id: UUID, payload: Payload) -> None:  # noqa: A002
        """See `VectorIndex`."""
        self._answer("set_payload")
        self.payloads.append(payload)
        await self._index.set_payload(collection, id, payload)

    async def delete(self, collection: Collection, ids: Sequence[UUID]) -> None:
        """See `VectorIndex`."""
        self._answer("delete")
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
        self._answer("query")
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
        self._answer("facet")
        return await self._index.facet(collection, field, filter=filter, limit=limit)

    async def fetch(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, NDArray[np.float32]]:
        """See `VectorIndex`."""
        self._answer("fetch")
        return await self._index.fetch(collection, ids)

    async def fetch_payloads(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """See `VectorIndex`."""
        self._answer("fetch_payloads")
        return await self._index.fetch_payloads(collection, ids)

    async def scroll(self, collection: Collection, *, after: UUID | None = None, limit: int) -> list[UUID]:
        """See `VectorIndex`."""
        self._answer("scroll")
        return await self._index.scroll(collection, after=after, limit=limit)

    async def count(self, collection: Collection) -> int:
        """See `VectorIndex`."""
        self._answer("count")
        return await self._index.count(collection)

    async def drop(self, collection: Collection) -> None:
        """See `VectorIndex`."""
        self._answer("drop")
        await self._index.drop(collection)

    async def ping(self) -> None:
        """See `VectorIndex`."""
        self._answer("ping")
        await self._index.ping()

    async def close(self) -> None:
        """See `VectorIndex`."""
        await self._index.close()

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.down:
            raise VectorIndexUnavailable("the vector index is down")
