"""A small Qdrant server: the part of its REST interface that `common/vectors/qdrant.py` speaks, points in memory.

It compares every vector by NumPy, is as strict as the adapter asks the real one to be (see `_STRICT` there), and can be
told by `PUT /script` to misbehave: `{"torn_upserts": 2}` has the next two upserts write half and answer 500. Run it as
`python -m tests.fakes.qdrant_server PORT`; the contract suite holds it to what the other vector indexes do.
"""

import operator
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Json = Any
_COMPLETED = {"status": "completed", "operation_id": 1}


class Refused(Exception):
    """A request that is answered with an error; `status` as HTTP has it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class _Point:
    vector: NDArray[np.float32]
    payload: dict[str, Json]


@dataclass(slots=True)
class _Collection:
    config: Json
    indexed: dict[str, Json] = field(default_factory=dict)
    points: dict[str, _Point] = field(default_factory=dict)

    @property
    def strict(self) -> Mapping[str, Json]:
        mode: dict[str, Json] = self.config.get("strict_mode_config") or {}
        return mode if mode.get("enabled") else {}

    def write(self, batch: Json) -> None:
        """Write points as `{"ids", "vectors", "payloads"}`; nothing at all if one of them is bad."""
        if len(batch["ids"]) > self.strict.get("upsert_max_batchsize", sys.maxsize):
            raise Refused(400, "strict mode: the batch is too large")
        size = self.config["vectors"]["size"]
        vectors = [np.asarray(vector, dtype=np.float32) for vector in batch["vectors"]]
        if any(vector.shape != (size,) for vector in vectors):
            raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {size}")
        for id_, vector, payload in zip(batch["ids"], vectors, batch["payloads"], strict=True):
            self.points[id_] = _Point(vector / np.linalg.norm(vector), payload)

    def select(self, conditions: Json) -> Iterator[str]:
        """Yield the ids of the points that a filter lets through."""
        self._check_indexed(conditions)
        return (id_ for id_, point in self.points.items() if _holds(conditions, id_, point.payload))

    def _check_indexed(self, conditions: Json) -> None:
        if self.strict.get("unindexed_filtering_retrieve", True):
            return
        for condition in _list(conditions, "must"):
            if "key" in condition and condition["key"] not in self.indexed:
                raise Refused(400, f"strict mode: there is no index for {condition['key']!r}")

    def search(self, body: Json) -> list[Json]:
        """Return the nearest points, best first."""
        limit = body.get("limit") or 10
        if limit > self.strict.get("max_query_limit", sys.maxsize):
            raise Refused(400, "strict mode: the limit is too large")
        ids = list(self.select(body.get("filter")))
        if not ids:
            return []
        query = np.asarray(body["query"]["nearest"], dtype=np.float32)
        scores = np.stack([self.points[id_].vector for id_ in ids]) @ (query / np.linalg.norm(query))
        lowest = body.get("score_threshold")
        best = sorted(zip(-scores, ids, strict=True))[:limit]
        return [
            {"id": id_, "version": 1, "score": float(-score)}
            for score, id_ in best
            if lowest is None or -score >= lowest
        ]

    def facet(self, body: Json) -> list[Json]:
        """Count points by the values of a field."""
        if body["key"] not in self.indexed:
            raise Refused(400, f"there is no index for {body['key']!r}")
        values = (_at(body["key"], self.points[id_].payload) for id_ in self.select(body.get("filter")))
        counts = Counter(chain.from_iterable(set(value) if isinstance(value, list) else [value] for value in values))
        counts.pop(None, None)
        return [{"value": value, "count": count} for value, count in counts.most_common(body.get("limit") or 10)]

    def describe(self) -> Json:
        """Return what `GET /collections/{name}` answers."""
        optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1, "default_segment_number": 0}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {"vectors": self.config["vectors"]},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
                "optimizer_config": {**optimizers, "flush_interval_sec": 5},
            },
            "payload_schema": {name: {"data_type": kind, "points": 0} for name, kind in self.indexed.items()},
        }


def _list(conditions: Json, clause: str) -> list[Json]:
    return (conditions or {}).get(clause) or []


def _holds(conditions: Json, id_: str, payload: Mapping[str, Json]) -> bool:
    return all(_true(each, id_, payload) for each in _list(conditions, "must"))


def _true(condition: Json, id_: str, payload: Mapping[str, Json]) -> bool:
    if "has_id" in condition:
        return id_ in condition["has_id"]
    value = _at(condition["key"], payload)
    if value is None:
        return False
    if "range" in condition:
        return _within(value, condition["range"])
    match = condition["match"]
    wanted = match["any"] if "any" in match else [match["value"]]
    return not set(wanted).isdisjoint(value if isinstance(value, list) else [value])


def _at(path: str, payload: Mapping[str, Json]) -> Json:
    head, _, rest = path.partition(".")
    value = payload.get(head)
    return _at(rest, value) if rest and isinstance(value, Mapping) else value


def _within(value: Json, bounds: Json) -> bool:
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if any(isinstance(bound, str) for bound in given.values()):
        value, given = datetime.fromisoformat(value), {k: datetime.fromisoformat(v) for k, v in given.items()}
    return all(getattr(operator, _OPERATORS[name])(value, bound) for name, bound in given.items())


_OPERATORS = {"gte": "ge", "gt": "gt", "lte": "le", "lt": "lt"}


class QdrantServer:
    """The server's state and its answers."""

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key
        self._collections: dict[str, _Collection] = {}
        self._torn_upserts = 0

    def app(self) -> Starlette:
        """Return the ASGI app."""
        one = "/collections/{name}"
        routes = {
            ("GET", "/health"): self._list,
            ("PUT", "/script"): self._script,
            ("GET", "/collections"): self._list,
            ("GET", f"{one}/exists"): self._exists,
            ("PUT", one): self._create,
            ("GET", one): self._describe,
            ("DELETE", one): self._drop,
            ("PUT", f"{one}/index"): self._index,
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
                Route("/", self._introduce),
                *(Route(path, self._answering(handle), methods=[method]) for (method, path), handle in routes.items()),
            ]
        )

    async def _introduce(self, _: Request) -> Response:
        return JSONResponse({"title": "a small Qdrant", "version": "1.19.0"})

    def _answering(self, handle: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            body = await request.json() if await request.body() else None
            try:
                if self.api_key not in {None, request.headers.get("api-key")}:
                    raise Refused(401, "Must provide an API key or an Authorization bearer token")
                result = handle(request.path_params.get("name", ""), body)
            except Refused as refusal:
                return JSONResponse({"status": {"error": str(refusal)}, "time": 0.0}, refusal.status)
            return JSONResponse({"result": result, "status": "ok", "time": 0.0})

        return endpoint

    def _get(self, name: str) -> _Collection:
        if name not in self._collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._collections[name]

    def _script(self, _: str, body: Json) -> Json:
        self._torn_upserts = body.get("torn_upserts", 0)
        return True

    def _list(self, _: str, __: Json) -> Json:
        return {"collections": [{"name": name} for name in self._collections]}

    def _exists(self, name: str, _: Json) -> Json:
        return {"exists": name in self._collections}

    def _create(self, name: str, body: Json) -> Json:
        if name in self._collections:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        self._collections[name] = _Collection(body)
        return True

    def _describe(self, name: str, _: Json) -> Json:
        return self._get(name).describe()

    def _drop(self, name: str, _: Json) -> Json:
        return self._collections.pop(name, None) is not None

    def _index(self, name: str, body: Json) -> Json:
        schema = body["field_schema"]
        self._get(name).indexed[body["field_name"]] = schema if isinstance(schema, str) else schema["type"]
        return _COMPLETED

    def _upsert(self, name: str, body: Json) -> Json:
        collection, batch = self._get(name), body["batch"]
        if self._torn_upserts > 0:
            self._torn_upserts -= 1
            collection.write({key: values[: len(values) // 2] for key, values in batch.items()})
            raise Refused(500, "Service internal error: the batch was written in part")
        collection.write(batch)
        return _COMPLETED

    def _retrieve(self, name: str, body: Json) -> Json:
        points = self._get(name).points
        return [_record(id_, points[id_], body) for id_ in body["ids"] if id_ in points]

    def _overwrite_payload(self, name: str, body: Json) -> Json:
        collection = self._get(name)
        for id_ in collection.select(body["filter"]):
            collection.points[id_].payload = dict(body["payload"])
        return _COMPLETED

    def _delete(self, name: str, body: Json) -> Json:
        points = self._get(name).points
        for id_ in body["points"]:
            points.pop(id_, None)
        return _COMPLETED

    def _query(self, name: str, body: Json) -> Json:
        return {"points": self._get(name).search(body)}

    def _facet(self, name: str, body: Json) -> Json:
        return {"hits": self._get(name).facet(body)}

    def _scroll(self, name: str, body: Json) -> Json:
        collection = self._get(name)
        ids = sorted(id_ for id_ in collection.select(body.get("filter")) if id_ >= (body.get("offset") or ""))
        limit = body.get("limit") or 10
        records = [_record(id_, collection.points[id_], body) for id_ in ids[:limit]]
        return {"points": records, "next_page_offset": ids[limit] if len(ids) > limit else None}

    def _count(self, name: str, body: Json) -> Json:
        return {"count": sum(1 for _ in self._get(name).select(body.get("filter")))}


def _record(id_: str, point: _Point, body: Json) -> Json:
    record: dict[str, Json] = {"id": id_}
    if body.get("with_payload", True):
        record["payload"] = point.payload
    if body.get("with_vector"):
        record["vector"] = point.vector.tolist()
    return record


if __name__ == "__main__":
    uvicorn.run(QdrantServer().app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
