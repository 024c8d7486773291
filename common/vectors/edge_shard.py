"""One collection of the embedded vector index: a folder, and Qdrant Edge's engine on it. All calls block.

What `qdrant_edge` 0.9 does decides what is done here. All measured with 512 numbers a vector:

- A call holds the interpreter's lock until it returns, threads or not. So calls are kept short: 64 points are upserted
  in 5 to 10 ms. Building HNSW graphs (`optimize`) takes half a minute for 20,000 points, all of it a standstill, and
  comparing every vector takes 2 ms for those, 10 ms for 100,000: there are no graphs here, and no point is missed.
- An update goes to a memory-mapped log and the data files. It survives the end of the process, but not of the machine,
  until `flush`, which holds the lock for 0.1 to 0.6 s. Opening replays the log, though. So a write syncs the log alone
  (12 ms, without the lock) and a flush comes when the log has grown.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    FacetRequest,
    FieldCondition,
    HasIdCondition,
    KeywordIndexParams,
    MatchAny,
    MatchValue,
    PayloadSchemaType,
    Query,
    QueryRequest,
    RangeDateTime,
    RangeFloat,
    ScrollRequest,
    SearchParams,
    UpdateOperation,
    UuidIndexParams,
    VectorStorageDatatype,
)
from qdrant_edge import Filter as EngineFilter
from qdrant_edge import Point as EnginePoint

from common.attributes import Declared
from common.errors import ConfigurationError
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
)
from common.vectors.schema import Kind, from_fields, indexed_fields, to_conditions, to_fields

Item = TypeVar("Item")

BATCH = 64
"""Points of one call of the engine: 5 to 10 ms of writing, less than one of reading."""
_CHANGES_PER_FLUSH = 10_000
"""Changes after which the log, some 25 MB by then, is written off; replaying it takes about 2 s."""

_NO_GRAPHS = EdgeOptimizersConfig(indexing_threshold=10**9, default_segment_number=1)
"""All that is left to optimize is the space of deleted points. (The threshold is in kB of vectors.)"""
_EXACT = SearchParams(exact=True)
_STORED_AS = VectorStorageDatatype.Turbo16
"""Numbers of 16 bits, of a vector that is rotated before (TurboQuant, https://arxiv.org/abs/2504.19874).

Half the bytes to compare: a query takes half the time. Scores are within 4e-5 of the exact ones, ten times nearer than
by `Float16`, and vectors come back within 5e-5. A collection made before keeps its numbers of 32 bits.
"""

_INDEXES: dict[Kind, PayloadSchemaType | KeywordIndexParams | UuidIndexParams] = {
    "tenant": UuidIndexParams(is_tenant=True),
    "uuid": PayloadSchemaType.Uuid,
    "keyword": PayloadSchemaType.Keyword,
    "datetime": PayloadSchemaType.Datetime,
    "integer": PayloadSchemaType.Integer,
    "float": PayloadSchemaType.Float,
}
_BOUNDS = ("gte", "gt", "lte", "lt")


class Shard:
    """A collection on disk. Writes must come one at a time; reads may come in between."""

    def __init__(self, engine: EdgeShard, folder: Path) -> None:
        """Take an open engine; `open` is the way to get one."""
        self._engine = engine
        self._log = folder / "wal"
        self._unflushed = 0

    @classmethod
    def open(cls, root: Path, collection: Collection, declared: Declared) -> Self:
        """Open the collection's folder below `root`, created where it is missing, and tidy up.

        Raises:
            ConfigurationError: it holds vectors of another dimension or distance.
        """
        folder = root / collection.name
        if not folder.exists():
            _create(folder, collection)
        _check_vectors(folder, collection)
        engine = EdgeShard.load(str(folder))
        fields = indexed_fields(declared)
        for field in fields.keys() - engine.info().payload_schema.keys():  # all of them at first
            engine.update(UpdateOperation.create_field_index(field, _INDEXES[fields[field]]))
        # Nothing to do unless a fifth of the points has been deleted; then 0.7 s for 20,000 points.
        if engine.optimize():
            engine.flush()
        return cls(engine, folder)

    @staticmethod
    def remove(root: Path, collection: Collection) -> None:
        """Remove the collection's folder, which is not open; half of one would not be opened again."""
        folder = root / collection.name
        if folder.exists():
            doomed = root / f".dropped-{collection.name}"
            shutil.rmtree(doomed, ignore_errors=True)
            folder.rename(doomed)
            shutil.rmtree(doomed)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; returns when they are on disk."""
        for some in _batches(points):
            self._engine.update(
                UpdateOperation.upsert_points(
                    [EnginePoint(point.id, point.vector.tolist(), to_fields(point.payload)) for point in some]
                )
            )
        self._persist(len(points))

    def set_payload(self, id: UUID, payload: Payload) -> None:  # noqa: A002
        """Replace the payload of a point, if there is one; returns when that is on disk."""
        # Named outright, a point that is absent would be an error.
        wherever_it_is = EngineFilter(must=[HasIdCondition({id})])
        self._engine.update(UpdateOperation.overwrite_payload_by_filter(wherever_it_is, to_fields(payload)))
        self._persist(1)

    def delete(self, ids: Sequence[UUID]) -> None:
        """Remove points; returns when that is on disk."""
        for some in _batches(ids):
            self._engine.update(UpdateOperation.delete_points(list(some)))
        self._persist(len(ids))

    def query(self, vector: list[float], wanted: Filter, *, limit: int, min_score: float | None) -> list[Match]:
        """Return the best matches; equal scores in any order."""
        request = QueryRequest(
            limit=limit,
            query=Query.Nearest(vector),
            filter=_to_filter(wanted),
            score_threshold=min_score,
            params=_EXACT,
            with_payload=False,
            with_vector=False,
        )
        return [Match(_uuid(point.id), as_cosine(point.score)) for point in self._engine.query(request)]

    def facet(self, field: Facetable, wanted: Filter, limit: int) -> list[Facet]:
        """Return the most frequent values of a field; equal counts in any order."""
        request = FacetRequest(field, limit=limit, exact=True, filter=_to_filter(wanted))
        return [Facet(str(hit.value), hit.count) for hit in self._engine.facet(request).hits]

    def fetch(self, ids: Sequence[UUID]) -> dict[UUID, NDArray[np.float32]]:
        """Return the vectors of those points that exist; `BATCH` of them in one go."""
        records = self._engine.retrieve(list(ids), with_payload=False, with_vector=True)
        return {_uuid(record.id): np.asarray(record.vector, dtype=np.float32) for record in records}

    def fetch_payloads(self, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """Return the payloads of those points that exist; `BATCH` of them in one go."""
        records = self._engine.retrieve(list(ids), with_payload=True, with_vector=False)
        return {_uuid(record.id): from_fields(record.payload) for record in records}

    def scroll(self, begin: UUID, limit: int) -> list[UUID]:
        """Return ids in their order, from `begin` on; a thousand take a millisecond or two."""
        request = ScrollRequest(offset=begin, limit=limit, with_payload=False, with_vector=False)
        records, _ = self._engine.scroll(request)
        return [_uuid(record.id) for record in records]

    def count(self) -> int:
        """Return how many points there are."""
        return self._engine.count(CountRequest(exact=True))

    def close(self) -> None:
        """Write everything to its place and close the files."""
        self._engine.flush()
        self._engine.close()

    def _persist(self, changes: int) -> None:
        self._unflushed += changes
        if self._unflushed >= _CHANGES_PER_FLUSH:
            self._engine.flush()
            self._unflushed = 0
        else:
            for file in self._log.iterdir():
                # A thread of the engine prepares files ahead and renames them when they are ready for use.
                if not file.name.startswith("tmp-"):
                    _sync(file)
            _sync(self._log)


def _create(folder: Path, collection: Collection) -> None:
    """Make an empty collection, or none: a folder that a killed process left half made is never taken for one."""
    unfinished = folder.with_name(f".{folder.name}.new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    vectors = EdgeVectorParams(size=collection.dim, distance=Distance.Cosine, datatype=_STORED_AS)
    engine = EdgeShard.create(str(unfinished), EdgeConfig(vectors=vectors, optimizers=_NO_GRAPHS))
    engine.flush()
    engine.close()
    unfinished.rename(folder)
    _sync(folder.parent)


def find_collections(root: Path) -> list[Collection]:
    """Return the collections that have been made below `root`, open or not."""
    folders = (file.parent for file in root.glob("[!.]*/edge_config.json"))  # and no `lost+found`
    return [Collection(folder.name, _vectors(folder)["size"]) for folder in folders]


def _vectors(folder: Path) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((folder / "edge_config.json").read_bytes())["vectors"][""]
    return vectors


def _check_vectors(folder: Path, collection: Collection) -> None:
    vectors = _vectors(folder)
    if (vectors["size"], vectors["distance"]) != (collection.dim, "Cosine"):
        raise ConfigurationError(
            f"{folder} holds vectors of {vectors['size']} numbers compared by {vectors['distance']}, "
            f"not {collection.dim} compared by Cosine: it belongs to another model; move it away"
        )


def _to_filter(wanted: Filter) -> EngineFilter:
    return EngineFilter(must=[_to_condition(condition) for condition in to_conditions(wanted)])


def _to_condition(condition: Condition) -> FieldCondition:
    match condition:
        case Equals(field, value):
            return FieldCondition(field, match=MatchValue(value))
        case AnyOf(field, values):
            return FieldCondition(field, match=MatchAny([*values]))
        case Between(field, gte, gt, lte, lt):
            return FieldCondition(field, range=RangeFloat(gte=gte, gt=gt, lte=lte, lt=lt))
        case During(field):
            bounds = {name: time.isoformat() for name in _BOUNDS if (time := getattr(condition, name)) is not None}
            return FieldCondition(field, range=RangeDateTime(**bounds))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _uuid(point_id: int | UUID | str) -> UUID:
    return point_id if isinstance(point_id, UUID) else UUID(str(point_id))


def _sync(path: Path) -> None:
    """Wait until a file, with what was written through a memory map, or a folder's list of names is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
