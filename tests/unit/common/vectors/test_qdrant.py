"""What is said to a Qdrant server, and what becomes of its answers, over HTTP without a network."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from common.errors import ConfigurationError, VectorIndexRefused, VectorIndexUnavailable
from common.vectors.base import Collection, Filter, Payload, Point
from common.vectors.qdrant import QdrantIndex
from common.vectors.schema import FIELDS

COLLECTION = Collection("model-p1", 8)
OWNER, FOLDER = UUID(int=1), UUID(int=3)
VECTOR = np.full(8, 1 / math.sqrt(8), dtype=np.float32)
COMPLETED = {"status": "completed", "operation_id": 1}

Json = Any
Reply = Callable[[], Awaitable[httpx.Response]]


class Server:
    """As much of a Qdrant server as is asked of it: it knows which collection exists, and notes every request."""

    def __init__(
        self,
        *,
        size: int | None = None,
        distance: str = "Cosine",
        named: bool = False,
        indexed: tuple[str, ...] = (),
    ) -> None:
        self.size = size
        self.distance = distance
        self.named = named
        self.indexed = indexed
        self.requests: list[tuple[str, str, Json]] = []
        self.replies: dict[str, Reply] = {}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.method, path, body))
        for part, reply in self.replies.items():
            if part in path:
                return await reply()
        if path == "/collections/model-p1" and request.method == "PUT":
            self.size = json.loads(request.content)["vectors"]["size"]
            return ok(True)
        return self._answer(path)

    def _answer(self, path: str) -> httpx.Response:
        if path.endswith("/exists"):
            return ok({"exists": self.size is not None})
        if self.size is None:
            return httpx.Response(404, json={"status": {"error": "Collection `model-p1` doesn't exist!"}})
        if path == "/collections/model-p1":
            return ok(self._info())
        if path.endswith("/points/query"):
            return ok({"points": []})
        return ok(COMPLETED)

    def _info(self) -> Json:
        vectors: Json = {"size": self.size, "distance": self.distance}
        optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1, "default_segment_number": 0}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {"vectors": {"image": vectors} if self.named else vectors},
                "hnsw_config": {"m": 16, "ef_construct": 128, "full_scan_threshold": 10000},
                "optimizer_config": {**optimizers, "flush_interval_sec": 5},
            },
            "payload_schema": {field: {"data_type": "keyword", "points": 0} for field in self.indexed},
        }

    def sent(self, method: str, ending: str) -> list[Json]:
        return [body for verb, path, body in self.requests if verb == method and path.endswith(ending)]


def ok(result: Json) -> httpx.Response:
    return httpx.Response(200, json={"result": result, "status": "ok", "time": 0.001})


def answering(response: httpx.Response) -> Reply:
    async def reply() -> httpx.Response:
        return response

    return reply


def failing(error: Exception) -> Reply:
    async def reply() -> httpx.Response:
        raise error

    return reply


@asynccontextmanager
async def connected(server: Server, timeout_s: float = 30) -> AsyncIterator[QdrantIndex]:
    client = AsyncQdrantClient(
        url="http://qdrant.test:6333", check_compatibility=False, transport=httpx.MockTransport(server)
    )
    index = QdrantIndex(client, timeout_s=timeout_s)
    yield index
    await index.close()


def points(count: int) -> list[Point]:
    payload = Payload(OWNER, FOLDER, None, ("red",), datetime(2026, 1, 1, tzinfo=UTC))
    return [Point(UUID(int=number), VECTOR, payload) for number in range(count)]


async def test_a_missing_collection_is_created_with_its_indexes() -> None:
    server = Server()
    async with connected(server) as index:
        await index.ensure(COLLECTION)
        asked = len(server.requests)
        await index.ensure(COLLECTION)
    assert len(server.requests) == asked, "the second time costs nothing"
    (created,) = server.sent("PUT", "/collections/model-p1")
    assert created["vectors"] == {"size": 8, "distance": "Cosine"}
    assert created["hnsw_config"] == {"m": 16, "ef_construct": 128}
    assert created["strict_mode_config"] == {
        "enabled": True,
        "unindexed_filtering_retrieve": False,
        "unindexed_filtering_update": False,
        "max_query_limit": 2000,
        "upsert_max_batchsize": 128,
    }
    indexes = {body["field_name"]: body["field_schema"] for body in server.sent("PUT", "/index?wait=true")}
    assert indexes == {
        "owner_id": {"type": "uuid", "is_tenant": True},
        "folder_id": "uuid",
        "category": "keyword",
        "tags": "keyword",
        "created_at": "datetime",
        "labels": "keyword",
    }


async def test_indexes_that_are_missing_are_added() -> None:
    server = Server(size=8, indexed=tuple(FIELDS.keys() - {"tags"}))
    async with connected(server) as index:
        await index.ensure(COLLECTION)
    assert server.sent("PUT", "/collections/model-p1") == []
    assert [body["field_name"] for body in server.sent("PUT", "/index?wait=true")] == ["tags"]


async def test_another_process_may_create_the_collection_first() -> None:
    server = Server()

    async def too_late() -> httpx.Response:
        server.replies.clear()
        server.size = 8
        return httpx.Response(409, json={"status": {"error": "Collection `model-p1` already exists!"}})

    async def not_yet() -> httpx.Response:
        del server.replies["/exists"]
        server.replies["/collections/model-p1"] = too_late
        return ok({"exists": False})

    server.replies["/exists"] = not_yet
    async with connected(server) as index:
        await index.ensure(COLLECTION)
    assert len(server.sent("PUT", "/index?wait=true")) == len(FIELDS)


async def test_a_collection_that_can_not_be_created_says_why() -> None:
    server = Server()

    async def refused() -> httpx.Response:
        del server.replies["/collections/model-p1"]
        return httpx.Response(400, json={"status": {"error": "no disk left"}})

    async def missing() -> httpx.Response:
        del server.replies["/exists"]
        server.replies["/collections/model-p1"] = refused
        return ok({"exists": False})

    server.replies["/exists"] = missing
    async with connected(server) as index:
        with pytest.raises(VectorIndexUnavailable, match="no disk left"):
            await index.ensure(COLLECTION)


@pytest.mark.parametrize(
    "server",
    [Server(size=9), Server(size=8, distance="Euclid"), Server(size=8, named=True)],
    ids=["dimension", "distance", "named"],
)
async def test_a_collection_of_other_vectors_is_refused(server: Server) -> None:
    async with connected(server) as index:
        with pytest.raises(ConfigurationError, match="not 8 compared by Cosine"):
            await index.ensure(COLLECTION)


async def test_upserts_wait_and_come_in_batches() -> None:
    server = Server()
    async with connected(server) as index:
        await index.upsert(COLLECTION, points(300))
    batches = server.sent("PUT", "/points?wait=true")
    assert [len(body["batch"]["ids"]) for body in batches] == [128, 128, 44]
    assert batches[0]["batch"]["ids"][1] == str(UUID(int=1))
    assert batches[0]["batch"]["payloads"][1] == {
        "owner_id": str(OWNER),
        "folder_id": str(FOLDER),
        "tags": ["red"],
        "created_at": "2026-01-01T00:00:00+00:00",
    }


async def test_a_query_asks_for_no_more_than_it_needs() -> None:
    server = Server(size=8)
    wanted = Filter(OWNER, FOLDER, "shoes", ("red", "sale"))
    async with connected(server) as index:
        await index.query(COLLECTION, VECTOR, filter=wanted, limit=25, min_score=0.5, exclude=[UUID(int=7)])
    (body,) = server.sent("POST", "/points/query")
    assert body["limit"] > 25, "what is excluded is left out of the answer"
    assert (body["with_payload"], body["with_vector"]) == (False, False)
    assert body["params"] == {"hnsw_ef": 128}
    assert body["score_threshold"] == 0.5
    assert body["filter"] == {
        "must": [
            {"key": "owner_id", "match": {"value": str(OWNER)}},
            {"key": "folder_id", "match": {"value": str(FOLDER)}},
            {"key": "category", "match": {"value": "shoes"}},
            {"key": "tags", "match": {"value": "red"}},
            {"key": "tags", "match": {"value": "sale"}},
        ],
    }


FAILURES: dict[str, Reply] = {
    "refused": failing(httpx.ConnectError("connection refused")),
    "without words": failing(httpx.ReadTimeout("")),
    "rate limited": answering(httpx.Response(429, headers={"Retry-After": "3"}, json={"status": {"error": "slow"}})),
    "rate limited, no hint": answering(httpx.Response(429, text="slow")),
    "broken": answering(httpx.Response(500, json={"status": {"error": "panic"}})),
    "no key": answering(httpx.Response(401, text="Must provide an API key")),
    "nonsense": answering(httpx.Response(200, text="<html>")),
}


@pytest.mark.parametrize("reply", FAILURES.values(), ids=FAILURES.keys())
async def test_whatever_fails_makes_it_unavailable(reply: Reply) -> None:
    server = Server(size=8)
    async with connected(server) as index:
        await index.ensure(COLLECTION)
        server.replies["/collections"] = reply
        calls: list[Awaitable[object]] = [
            index.ensure(Collection("another", 8)),
            index.upsert(COLLECTION, points(1)),
            index.set_payload(COLLECTION, UUID(int=1), points(1)[0].payload),
            index.delete(COLLECTION, [UUID(int=1)]),
            index.query(COLLECTION, VECTOR, filter=Filter(OWNER), limit=1),
            index.fetch(COLLECTION, [UUID(int=1)]),
            index.count(COLLECTION),
            index.ping(),
        ]
        for call in calls:
            with pytest.raises(VectorIndexUnavailable, match=r"Qdrant failed: \w+: "):
                await call


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 429, 500, 503])
async def test_a_refusal_of_what_was_asked_is_told_from_everything_else(status: int) -> None:
    server = Server(size=8)
    async with connected(server) as index:
        await index.ensure(COLLECTION)
        server.replies["/points"] = answering(httpx.Response(status, json={"status": {"error": "no"}}))
        with pytest.raises(VectorIndexUnavailable) as caught:
            await index.upsert(COLLECTION, points(2))
    assert (type(caught.value) is VectorIndexRefused) == (status in (400, 413, 422))


@pytest.mark.parametrize("status", ["wait_timeout", "acknowledged"])
async def test_a_write_that_is_not_completed_is_a_failure(status: str) -> None:
    server = Server(size=8)
    async with connected(server) as index:
        await index.ensure(COLLECTION)
        server.replies["/points"] = answering(ok({"status": status, "operation_id": 1}))
        calls = [
            index.upsert(COLLECTION, points(1)),
            index.set_payload(COLLECTION, UUID(int=1), points(1)[0].payload),
            index.delete(COLLECTION, [UUID(int=1)]),
        ]
        for call in calls:
            with pytest.raises(VectorIndexUnavailable, match=status):
                await call


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    server = Server(size=8)

    async def never() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.replies["/points/query"] = never
    async with connected(server, timeout_s=0.05) as index:
        with pytest.raises(VectorIndexUnavailable, match=r"within 0\.05 s"):
            await index.query(COLLECTION, VECTOR, filter=Filter(OWNER), limit=1)


async def test_a_collection_the_server_has_lost_comes_back_with_the_next_upsert() -> None:
    server = Server()
    async with connected(server) as index:
        await index.upsert(COLLECTION, points(1))
        server.size = None
        with pytest.raises(VectorIndexUnavailable, match="404"):
            await index.upsert(COLLECTION, points(1))
        await index.upsert(COLLECTION, points(1))
    assert len(server.sent("PUT", "/collections/model-p1")) == 2


async def test_scrolling_asks_for_ids_alone_and_begins_after_the_last() -> None:
    server = Server(size=8)
    server.replies["/points/scroll"] = answering(ok({"points": [{"id": str(UUID(int=8))}], "next_page_offset": None}))
    async with connected(server) as index:
        assert await index.scroll(COLLECTION, after=UUID(int=6), limit=100) == [UUID(int=8)]
        assert await index.scroll(COLLECTION, after=UUID(int=2**128 - 1), limit=100) == []
    assert server.sent("POST", "/points/scroll") == [
        {"offset": str(UUID(int=7)), "limit": 100, "with_payload": False, "with_vector": False}
    ]


async def test_payloads_are_asked_for_without_vectors_and_in_bounded_numbers() -> None:
    server = Server(size=8)
    server.replies["/points"] = answering(ok([{"id": str(UUID(int=1)), "payload": {"foreign": True}}]))
    async with connected(server) as index:
        found = await index.fetch_payloads(COLLECTION, [UUID(int=number) for number in range(200)])
    assert found == {UUID(int=1): None}
    asked = server.sent("POST", "/points")
    assert [(len(body["ids"]), body["with_payload"], body["with_vector"]) for body in asked] == [
        (128, True, False),
        (72, True, False),
    ]
