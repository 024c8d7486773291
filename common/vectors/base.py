"""The vector index as the services see it: points by id, and the nearest of them within one owner's images.

Two adapters keep this contract, `common/vectors/qdrant.py` (a server) and `common/vectors/edge.py` (Qdrant's engine in
this process); `tests/contracts/test_vector_index.py` holds both to it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.attributes import Value

NORM_TOLERANCE = 1e-3
"""How far from 1 the L2 norm of a vector may be and still count as normalised."""

ROUNDING = 1e-4
"""How far a score, or a number of a vector that is fetched, may be from the exact one: an index may keep 16 bits."""

MAX_MATCHES = 1_000
"""Most matches of a query."""

MAX_FACETS = 100
"""Most values of a facet."""

Facetable = Literal["category", "tags"]
"""The fields by whose values points can be counted."""

_LAST = 2**128 - 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Collection:
    """The vectors of one embedding model: where they are kept, and how many numbers each has.

    The name becomes part of a path and of a URL, so it is letters, digits and `._-`, and begins with none of these.
    """

    name: str
    dim: int

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a collection can't be named {self.name!r}")
        if self.dim < 1:
            raise ValueError(f"vectors have at least one number, got {self.dim}")


@dataclass(frozen=True, slots=True)
class Payload:
    """What a point carries beside its vector: what filters need, and no more; PostgreSQL has the rest."""

    owner_id: UUID
    folder_id: UUID
    category: str | None
    tags: tuple[str, ...]
    created_at: datetime
    attributes: Mapping[str, Value] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    hidden: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One image in a collection: `vector` is float32 of shape `(dim,)` with L2 norm 1."""

    id: UUID
    vector: NDArray[np.float32]
    payload: Payload


@dataclass(frozen=True, slots=True)
class Equals:
    """A field has the value, or is a list that holds it."""

    field: str
    value: str | int


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A field has one of the values, or is a list that holds one of them."""

    field: str
    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """A field is a number within all bounds that are given."""

    field: str
    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None


@dataclass(frozen=True, slots=True)
class During:
    """A field is a time within all bounds that are given; these have a zone."""

    field: str
    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None


Condition = Equals | AnyOf | Between | During


@dataclass(frozen=True, slots=True)
class Filter:
    """Which points a query may return. The owner is mandatory: no query crosses from one tenant to another.

    Everything given must hold. Times have a zone.
    """

    owner_id: UUID
    folder_id: UUID | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    """All of these …"""
    any_tags: tuple[str, ...] = ()
    """… and, if there are any here, at least one of them."""
    created_from: datetime | None = None
    """Not before this …"""
    created_before: datetime | None = None
    """… and before this."""
    attributes: tuple[Condition, ...] = ()
    """Fields here are names of attributes, each of which is indexed as what the condition compares it with."""
    labels: tuple[str, ...] = ()
    """All of these."""
    include_hidden: bool = False


class Match(NamedTuple):
    """A point found: `score` is the cosine similarity to the query, -1 to 1, up to `ROUNDING`."""

    id: UUID
    score: float


@dataclass(frozen=True, slots=True)
class Facet:
    """How many points have a value."""

    value: str
    count: int


class VectorIndex(Protocol):
    """Points by id, in collections that never mix. A collection must be known by `ensure` before it is used.

    What a write call returned from is durable and seen by the next query; writing the same again is always safe. Every
    call raises `VectorIndexUnavailable` when the index can't be reached, refuses us, or does not answer in time.
    """

    async def ensure(self, collection: Collection) -> None:
        """Create the collection and its payload indexes where they are missing; costs nothing the second time.

        Raises:
            ConfigurationError: it exists with another dimension or distance.
        """

    async def upsert(self, collection: Collection, points: Sequence[Point]) -> None:
        """Write points, replacing vector and payload of those that exist; the last of equal ids wins.

        Raises:
            ValueError: a vector has the wrong shape, is not finite or not normalised; nothing was written.
            VectorIndexRefused: the index does not take these points; one of them may be all that is wrong.
        """

    async def set_payload(self, collection: Collection, id: UUID, payload: Payload) -> None:  # noqa: A002
        """Replace the payload of a point; without effect if there is no such point."""

    async def delete(self, collection: Collection, ids: Sequence[UUID]) -> None:
        """Remove points; absent ones are fine."""

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
        """Return the points nearest to a vector, best first, equal scores in the order of their ids.

        The filter is applied inside the search, so it never shortens the answer. A server searches large collections
        through an HNSW graph, whose ranking is exact up to its recall; the engine in this process compares them all.

        Args:
            collection: where to look.
            vector: float32 of shape `(dim,)`, normalised.
            filter: which points count.
            limit: most matches to return, 1 to `MAX_MATCHES`.
            min_score: leave out points less similar than this.
            exclude: points to leave out, such as the image that is asked about.

        Raises:
            ValueError: the vector or the limit is not as described.
        """

    async def facet(
        self,
        collection: Collection,
        field: Facetable,
        *,
        filter: Filter,  # noqa: A002
        limit: int,
    ) -> list[Facet]:
        """Count the points that pass a filter by the values of a field, exactly.

        Most frequent first, equal counts in the order of the values. Which of equals are left out by the limit, 1 to
        `MAX_FACETS`, is not settled.
        """

    async def fetch(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, NDArray[np.float32]]:
        """Return the vectors of the points that exist, each float32 of shape `(dim,)`, normalised, up to `ROUNDING`."""

    async def fetch_payloads(self, collection: Collection, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """Return the payloads of those points that exist; None: it is none that `Payload` could have become."""

    async def scroll(self, collection: Collection, *, after: UUID | None = None, limit: int) -> list[UUID]:
        """Return the ids of up to `limit` points in their order, of those greater than `after`.

        Fewer than `limit`: there are no more.
        """

    async def count(self, collection: Collection) -> int:
        """Return how many points the collection holds, exactly."""

    async def drop(self, collection: Collection) -> None:
        """Remove a collection that nobody uses any more, with all its points; one that is not there is fine."""

    async def ping(self) -> None:
        """Return if the index answers."""

    async def close(self) -> None:
        """Release what the index holds; calls after that raise. Closing twice is fine."""


def as_cosine(score: float) -> float:
    """Return an engine's score within -1 to 1, which rounding may have left."""
    return max(-1.0, min(score, 1.0))


def next_id(after: UUID | None) -> UUID | None:
    """Return the least id greater than `after`, if there is one; engines scroll from an id on, that one included."""
    if after is None:
        return UUID(int=0)
    return UUID(int=after.int + 1) if after.int < _LAST else None


def validate_points(collection: Collection, points: Sequence[Point]) -> None:
    """Raise `ValueError` unless every vector has the collection's shape, is finite and is L2-normalised."""
    for point in points:
        if problem := _problem(collection, point.vector):
            raise ValueError(f"point {point.id}: {problem}")


def validate_query(collection: Collection, vector: NDArray[np.float32], limit: int) -> None:
    """Raise `ValueError` unless vector and limit are what `VectorIndex.query` takes."""
    if problem := _problem(collection, vector):
        raise ValueError(f"query: {problem}")
    if not 1 <= limit <= MAX_MATCHES:
        raise ValueError(f"query: a limit from 1 to {MAX_MATCHES}, got {limit}")


def _problem(collection: Collection, vector: NDArray[np.float32]) -> str | None:
    if vector.shape != (collection.dim,):
        return f"expected a vector of shape ({collection.dim},), got {vector.shape}"
    norm = math.sqrt(vector.dot(vector))  # a third of the time of `numpy.linalg.norm`
    # The norm of a vector that is not finite is no number or infinite: it fails this comparison.
    if not abs(norm - 1) <= NORM_TOLERANCE:
        return f"expected a finite vector with an L2 norm of 1, got {norm}"
    return None
