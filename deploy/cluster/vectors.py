"""The process that owns the embedded index of a cluster: as much of Qdrant's REST interface as our adapter speaks.

The others reach it through `common/vectors/qdrant.py`, as they would a Qdrant server. Below it is Qdrant's engine in
this process (`common/vectors/edge.py`): durable, without graphs, and for one machine. Run it as

    QDRANT__PATH=FOLDER VECTORS__PORT=6333 python -m deploy.cluster.vectors

With `QDRANT__API_KEY` it obeys only who has the key. The contract suite holds it to what the others do.
"""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.arguments import take_none
from common.attributes import Declared
from common.draining import Drain, serve
from common.errors import ConfigurationError, VectorIndexUnavailable
from common.log import configure_logging
from common.starting import ending_plainly
from common.vectors.base import MAX_MATCHES, Collection, Payload, Point
from common.vectors.edge import EdgeIndex
from common.vectors.edge_shard import find_collections
from common.vectors.schema import Kind, from_fields, indexed_fields, to_fields
from deploy.cluster.conditions import read_filter
from deploy.cluster.settings import VectorProcessSettings

Json = Any
Handle = Callable[[str, Json], Awaitable[Json]]
_COMPLETED = {"status": "completed", "operation_id": 1}
_SPOKEN = "1.19.1"
"""The release of Qdrant whose interface this is a part of."""
_TYPES: dict[Kind, str] = {"tenant": "uuid"}


class _Missing(Exception):
    """There is no such collection."""


class VectorProcess:
    """The index and its answers."""

    def __init__(self, path: Path, timeout_s: float, declared: Declared, api_key: str = "") -> None:
        """Take the folder of the index, which is locked until `close`; `declared` are attributes to filter by."""
        self._index = EdgeIndex(path, timeout_s=timeout_s, attributes=declared)
        self._path = path
        self._api_key = api_key
        self._schema = {
            field: {"data_type": _TYPES.get(kind, kind), "points": 0}
            for field, kind in indexed_fields(declared).items()
        }
        self._collections: dict[str, Collection] = {}

    async def open(self) -> None:
        """Open the collections there are."""
        for collection in find_collections(self._path):
            await self._ensure(collection)

    async def close(self) -> None:
        """Close the index."""
        await self._index.close()

    def app(self) -> Starlette:
        """Return the ASGI app; its lifespan opens and closes the index."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            try:
                await self.open()
                yield
            finally:
                await self.close()

        one = "/collections/{name}"
        routes: dict[tuple[str, str], Handle] = {
            ("GET", "/collections"): self._list,
            ("GET", f"{one}/exists"): self._exists,
            ("PUT", one): self._create,
            ("GET", one): self._describe,
            ("DELETE", one): self._drop,
            ("PUT", f"{one}/index"): self._index_field,
            ("PUT", f"{one}/points"): self._upsert,
            ("POST", f"{one}/points"): self._retrieve,
            ("PUT", f"{one}/points/payload"): self._overwrite_payload,
            ("POST", f"{one}/points/delete"): self._delete,
            ("POST", f"{one}/points/query"): self._query,
            ("POST", f"{one}/facet"): self._facet,
            ("POST", f"{one}/points/scroll"): self._scroll,
            ("POST", f"{one}/points/count"): self._count,
        }
        return Starlette(
            routes=[
                Route("/", _version),
                Route("/health", _health),
                Route("/ready", self._ready),
                *(Route(path, self._answering(handle), methods=[verb]) for (verb, path), handle in routes.items()),
            ],
            lifespan=lifespan,
        )

    async def _ready(self, _: Request) -> Response:
        await self._index.ping()
        return JSONResponse({"ready": True})

    def _answering(self, handle: Handle) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if not hmac.compare_digest(request.headers.get("api-key", "").encode(), self._api_key.encode()):
                return _refusal(401, "the api-key is not the one that is set here")
            body = await request.json() if await request.body() else {}
            try:
                result = await handle(request.path_params.get("name", ""), body)
            except _Missing as error:
                return _refusal(404, f"Not found: Collection `{error}` doesn't exist!")
            except (ValueError, KeyError, ConfigurationError) as error:
                return _refusal(400, f"Wrong input: {error}")
            except VectorIndexUnavailable as error:
                return _refusal(503, str(error))
            return JSONResponse({"result": result, "status": "ok", "time": 0.0})

        return endpoint

    def _get(self, name: str) -> Collection:
        if name not in self._collections:
            raise _Missing(name)
        return self._collections[name]

    async def _ensure(self, collection: Collection) -> None:
        await self._index.ensure(collection)
        self._collections[collection.name] = collection

    async def _list(self, _: str, __: Json) -> Json:
        return {"collections": [{"name": name} for name in self._collections]}

    async def _exists(self, name: str, _: Json) -> Json:
        return {"exists": name in self._collections}

    async def _create(self, name: str, body: Json) -> Json:
        if name in self._collections:
            raise ValueError(f"Collection `{name}` already exists!")
        if body["vectors"]["distance"] != "Cosine":
            raise ValueError("this index compares by Cosine alone")
        await self._ensure(Collection(name, body["vectors"]["size"]))
        return True

    async def _describe(self, name: str, _: Json) -> Json:
        vectors = {"size": self._get(name).dim, "distance": "Cosine"}
        optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1, "default_segment_number": 1}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {"vectors": vectors},
                "hnsw_config": {"m": 0, "ef_construct": 4, "full_scan_threshold": 10_000},
                "optimizer_config": {**optimizers, "flush_interval_sec": 5},
            },
            "payload_schema": self._schema,
        }

    async def _drop(self, name: str, _: Json) -> Json:
        collection = self._collections.pop(name, None)
        if collection is not None:
            await self._index.drop(collection)
        return collection is not None

    async def _index_field(self, name: str, body: Json) -> Json:
        if body["field_name"] not in self._schema:
            raise ValueError(f"this process was started without {body['field_name']!r}")
        self._get(name)
        return _COMPLETED

    async def _upsert(self, name: str, body: Json) -> Json:
        batch = body["batch"]
        points = [
            Point(UUID(id_), np.asarray(vector, dtype=np.float32), _payload(fields))
            for id_, vector, fields in zip(batch["ids"], batch["vectors"], batch["payloads"], strict=True)
        ]
        await self._index.upsert(self._get(name), points)
        return _COMPLETED

    async def _retrieve(self, name: str, body: Json) -> Json:
        return await self._records(name, [UUID(id_) for id_ in body["ids"]], body)

    async def _overwrite_payload(self, name: str, body: Json) -> Json:
        (condition,) = body["filter"]["must"]
        for id_ in condition["has_id"]:
            await self._index.set_payload(self._get(name), UUID(id_), _payload(body["payload"]))
        return _COMPLETED

    async def _delete(self, name: str, body: Json) -> Json:
        await self._index.delete(self._get(name), [UUID(id_) for id_ in body["points"]])
        return _COMPLETED

    async def _query(self, name: str, body: Json) -> Json:
        found = await self._index.query(
            self._get(name),
            np.asarray(body["query"]["nearest"], dtype=np.float32),
            filter=read_filter(body["filter"]),
            limit=min(body["limit"], MAX_MATCHES),
            min_score=body.get("score_threshold"),
        )
        return {"points": [{"id": str(match.id), "version": 1, "score": match.score} for match in found]}

    async def _facet(self, name: str, body: Json) -> Json:
        found = await self._index.facet(
            self._get(name), body["key"], filter=read_filter(body["filter"]), limit=body["limit"]
        )
        return {"hits": [{"value": facet.value, "count": facet.count} for facet in found]}

    async def _scroll(self, name: str, body: Json) -> Json:
        begin = UUID(body["offset"] or str(UUID(int=0))).int
        after = UUID(int=begin - 1) if begin else None
        ids = await self._index.scroll(self._get(name), after=after, limit=body["limit"] + 1)
        rest = ids[body["limit"] :]
        records = await self._records(name, ids[: body["limit"]], body)
        return {"points": records, "next_page_offset": str(rest[0]) if rest else None}

    async def _count(self, name: str, _: Json) -> Json:
        return {"count": await self._index.count(self._get(name))}

    async def _records(self, name: str, ids: list[UUID], body: Json) -> list[Json]:
        """Return those of the points that exist, with as much of each as is asked for."""
        collection = self._get(name)
        payloads = await self._index.fetch_payloads(collection, ids)
        vectors = await self._index.fetch(collection, ids) if body.get("with_vector") else {}
        records: list[Json] = []
        for id_, payload in payloads.items():
            record: dict[str, Json] = {"id": str(id_)}
            if body.get("with_payload", True):
                record["payload"] = None if payload is None else to_fields(payload)
            if id_ in vectors:
                record["vector"] = vectors[id_].tolist()
            records.append(record)
        return records


async def _version(_: Request) -> Response:
    return JSONResponse({"title": "vectors of a Likeness cluster", "version": _SPOKEN})


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


def _payload(fields: Json) -> Payload:
    payload = from_fields(fields)
    if payload is None:
        raise ValueError("a payload that is none of ours")
    return payload


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"status": {"error": reason}, "time": 0.0}, status)


def main() -> None:
    """Serve until told to stop."""
    with ending_plainly():
        settings = VectorProcessSettings()
    configure_logging(settings.log)
    if settings.qdrant.path is None:
        raise SystemExit("set QDRANT__PATH: the folder of the embedded index")
    key = settings.qdrant.api_key.get_secret_value() if settings.qdrant.api_key else ""
    process = VectorProcess(settings.qdrant.path, settings.qdrant.timeout_s, settings.search.attributes, key)
    serve(process.app(), Drain(), 0, host=settings.vectors.host, port=settings.vectors.port)


if __name__ == "__main__":
    take_none("deploy.cluster.vectors", __doc__)
    main()
