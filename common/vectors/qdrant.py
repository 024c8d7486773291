"""The vector index in a Qdrant server, over REST."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from common.attributes import Declared
from common.errors import ConfigurationError, VectorIndexRefused, VectorIndexUnavailable
from common.vectors.base import (
    AnyOf,
    Between,
    Collection,
    Condition,
    During,
    Equals,
    Facet,
    Facetable,
    Filter,
    Match,
    Payload,
    Point,
    as_cosine,
    next_id,
    validate_points,
    validate_query,
)
from common.vectors.ranking import MAX_SEARCH, order_facets, settle_order
from common.vectors.schema import Kind, from_fields, indexed_fields, to_conditions, to_fields

Item = TypeVar("Item")

_BATCH = 128
"""Points of one request: encoding 128 of 512 numbers holds the event loop for about 4 ms."""

# Graph parameters for 512 numbers and cosine similarity.
_HNSW = models.HnswConfigDiff(m=16, ef_construct=128)
_SEARCH = models.SearchParams(hnsw_ef=128)

_STRICT = models.StrictModeConfig(
    enabled=True,
    unindexed_filtering_retrieve=False,
    unindexed_filtering_update=False,
    max_query_limit=MAX_SEARCH,
    upsert_max_batchsize=_BATCH,
)
"""What the server refuses, so that a mistake of ours shows at once instead of as a slow server."""

_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Answers about the request itself; the other 4xx are about the key, the collection or the pace."""

_INDEXES: dict[Kind, models.PayloadSchemaType | models.UuidIndexParams] = {
    "tenant": models.UuidIndexParams(type=models.UuidIndexType.UUID, is_tenant=True),
    "uuid": models.PayloadSchemaType.UUID,
    "keyword": models.PayloadSchemaType.KEYWORD,
    "datetime": models.PayloadSchemaType.DATETIME,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
}


class QdrantIndex:
    """A `VectorIndex` in a Qdrant server. How often a collection is replicated is the server's configuration."""

    def __init__(self, client: AsyncQdrantClient, *, timeout_s: float, attributes: Declared | None = None) -> None:
        """Take a client, which is closed with the index; `timeout_s` is how long any call may take.

        `attributes` are those that filters may ask for.
        """
        self._client = client
        self._timeout_s = timeout_s
        self._fields = indexed_fields(attributes or {})
        self._ensured: set[Collection] = set()

    async def ensure(self, collection: Collection) -> None:
        """See `VectorIndex.ensure`."""
        if collection in self._ensured:
            return
        async with self._asking(collection):
            if not await self._client.collection_exists(collection.name):
                await self._create(collection)
            info = await self._client.get_collection(collection.name)
            _check_vectors(collection, info.config.params.vectors)
            for field, kind in self._fields.items():
                if field not in info.payload_schema:
                    _check_completed(
                        await self._client.create_payload_index(collection.name, field, field_schema=_INDEXES[kind])
                    )
        self._ensured.add(collection)

    async def upsert(self, collection: Collection, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`. Brings back a collection the server has lost, for what is still to come."""
        validate_points(collection, points)
        await self.ensure(collection)
        for some in _batches(points):
            batch = models.Batch(
                ids=[str(point.id) for point in some],
                vectors=np.stack([point.vector for point in some]).tolist(),
                payloads=[to_fields(point.payload) for point in some],
            )
            async with self._asking(collection):
                _check_completed(await self._client.upsert(collection.name, batch, wait=True))

    async def set_payload(self, collection: Collection, id: UUID, payload: Payload) -> None:  # noqa: A002
        """See `VectorIndex.set_payload`."""
        # Named outright, a point that is absent would be an error.
        wherever_it_is = models.Filter(must=[models.HasIdCondition(has_id=[str(id)])])
        async with self._asking(collection):
            _check_completed(
                await self._client.overwrite_payload(collection.name, to_fields(payload), wherever_it_is, wait=True)
            )

    async def delete(self, collection: Collection, ids: Sequence[UUID]) -> None:
        """See `VectorIndex.delete`."""
        for some in _batches(ids):
            selector = models.PointIdsList(points=[*map(str, some)])
            async with self._asking(collection):
                _check_completed(await self._client.delete(collection.name, selector, wait=True))

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
        conditions = _to_filter(filter)

        async def search(size: int) -> list[Match]:
            async with self._asking(collection):
                response = await self._client.query_points(
                    collection.name,
                    query=numbers,
                    query_filter=conditions,
                    search_params=_SEARCH,
                    limit=size,
                    score_threshold=min_score,
                    with_payload=False,
                    with_vectors=False,
                )
            return [Match(UUID(str(point.id)), as_cosine(point.score)) for point in response.points]

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
        async with self._asking(collection):
            response = await self._client.facet(
                collection.name, field, facet_filter=_to_filter(filter), limit=limit, exact=True
            )
        return order_facets(Facet(str(hit.value), hit.count) for hit in response.hits)

    async def fetch(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, NDArray[np.float32]]:
        """See `VectorIndex.fetch`."""
        vectors: dict[UUID, NDArray[np.float32]] = {}
        for some in _batches(ids):
            async with self._asking(collection):
                records = await self._client.retrieve(
                    collection.name, [*map(str, some)], with_payload=False, with_vectors=True
                )
            vectors |= {UUID(str(record.id)): np.asarray(record.vector, dtype=np.float32) for record in records}
        return vectors

    async def fetch_payloads(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """See `VectorIndex.fetch_payloads`."""
        found: dict[UUID, Payload | None] = {}
        for some in _batches(ids):
            async with self._asking(collection):
                records = await self._client.retrieve(
                    collection.name, [*map(str, some)], with_payload=True, with_vectors=False
                )
            found |= {UUID(str(record.id)): from_fields(record.payload) for record in records}
        return found

    async def scroll(self, collection: Collection, *, after: UUID | None = None, limit: int) -> list[UUID]:
        """See `VectorIndex.scroll`."""
        begin = next_id(after)
        if begin is None:
            return []
        async with self._asking(collection):
            records, _ = await self._client.scroll(
                collection.name, offset=str(begin), limit=limit, with_payload=False, with_vectors=False
            )
        return [UUID(str(record.id)) for record in records]

    async def count(self, collection: Collection) -> int:
        """See `VectorIndex.count`."""
        async with self._asking(collection):
            return (await self._client.count(collection.name, exact=True)).count

    async def drop(self, collection: Collection) -> None:
        """See `VectorIndex.drop`."""
        self._ensured.discard(collection)
        async with self._asking(collection):
            if await self._client.collection_exists(collection.name):
                await self._client.delete_collection(collection.name)

    async def ping(self) -> None:
        """See `VectorIndex.ping`. Asks for something that needs the API key, unlike the server's own health checks."""
        async with self._asking():
            await self._client.get_collections()

    async def close(self) -> None:
        """See `VectorIndex.close`."""
        await self._client.close()

    async def _create(self, collection: Collection) -> None:
        try:
            await self._client.create_collection(
                collection.name,
                vectors_config=models.VectorParams(size=collection.dim, distance=models.Distance.COSINE),
                hnsw_config=_HNSW,
                strict_mode_config=_STRICT,
            )
        except UnexpectedResponse:
            # Another process may have been faster; the server says so in more than one way.
            if not await self._client.collection_exists(collection.name):
                raise

    @asynccontextmanager
    async def _asking(self, collection: Collection | None = None) -> AsyncIterator[None]:
        """Bound what happens inside by the timeout, and turn everything that can go wrong into our errors."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as error:
            raise VectorIndexUnavailable(f"Qdrant did not answer within {self._timeout_s:g} s") from error
        except (ApiException, QdrantException, ValueError) as error:  # ValueError: the answer is no JSON
            if collection is not None and isinstance(error, UnexpectedResponse) and error.status_code == 404:
                self._ensured.discard(collection)  # the server has lost it: look again next time
            raise _translate(error) from error


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _to_filter(wanted: Filter) -> models.Filter:
    return models.Filter(must=[_to_condition(condition) for condition in to_conditions(wanted)])


def _to_condition(condition: Condition) -> models.FieldCondition:
    match condition:
        case Equals(field, value):
            return models.FieldCondition(key=field, match=models.MatchValue(value=value))
        case AnyOf(field, values):
            return models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))
        case Between(field, gte, gt, lte, lt):
            return models.FieldCondition(key=field, range=models.Range(gte=gte, gt=gt, lte=lte, lt=lt))
        case During(field, gte, gt, lte, lt):
            return models.FieldCondition(key=field, range=models.DatetimeRange(gte=gte, gt=gt, lte=lte, lt=lt))


def _check_completed(result: models.UpdateResult) -> None:
    """Refuse a write that the server accepted but has not applied: `wait_timeout` is answered with 200 as well."""
    if result.status != models.UpdateStatus.COMPLETED:
        raise VectorIndexUnavailable(f"Qdrant has not completed the write: {result.status}")


def _check_vectors(collection: Collection, params: object) -> None:
    match params:
        case models.VectorParams(size=collection.dim, distance=models.Distance.COSINE):
            return
        case models.VectorParams(size=size, distance=distance):
            found = f"{size} numbers compared by {distance.value}"
        case _:
            found = "another kind of vectors"
    raise ConfigurationError(
        f"collection {collection.name!r} has {found}, not {collection.dim} compared by Cosine: "
        "it belongs to another model or another application; give this one a Qdrant of its own"
    )


def _translate(error: Exception) -> VectorIndexUnavailable:
    refused = isinstance(error, UnexpectedResponse) and error.status_code in _REFUSALS
    return (VectorIndexRefused if refused else VectorIndexUnavailable)(f"Qdrant failed: {_reason(error)}")


def _reason(error: Exception) -> str:
    source = error.source if isinstance(error, ResponseHandlingException) else error
    return f"{type(source).__name__}: {source}"  # httpx's errors are often without words
