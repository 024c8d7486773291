"""Points of every kind, and the judge of what is found among them: NumPy and plain Python, every point one by one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.attributes import AttributeKind, spell
from common.vectors.base import ROUNDING, AnyOf, Between, Condition, During, Equals, Filter, Match, Payload, Point

DIM = 16
ALICE, BOB = UUID(int=1 << 64), UUID(int=2 << 64)
FOLDERS = [UUID(int=(3 << 64) + number) for number in range(3)]
CATEGORIES = ["shoes", "Hüte & Mützen", None]
TAGS = ["red", "blue", "sale"]
LABELS = ["a red circle", "ein Hut"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first point was created; the others follow minute by minute."""

DECLARED = {
    "brand": AttributeKind.KEYWORD,
    "size": AttributeKind.INTEGER,
    "price": AttributeKind.NUMBER,
    "sold": AttributeKind.BOOLEAN,
    "made": AttributeKind.DATETIME,
}
_VALUES: Mapping[str, Sequence[Any]] = {
    "brand": ["acme", "Acme", "zebra & söhne", ""],
    "size": [-1, 0, 42, 43, 2**53],
    "price": [0, 0.1, 99.99, 100, 100.01, -5],
    "sold": [spell(True), spell(False)],
    "made": ["2025-12-31T23:59:59.999999+00:00", "2026-01-01T00:00:00Z", "2026-01-01T05:00:00+05:00"],
    "undeclared": ["anything", 7],
}
"""A quarter of the points lacks each of them."""

Vector = NDArray[np.float32]


def vectors(count: int, seed: int = 0, dim: int = DIM) -> Vector:
    """Return normalised vectors in every direction, (count, dim)."""
    numbers = np.random.default_rng(seed).standard_normal((count, dim))
    return np.asarray(numbers / np.linalg.norm(numbers, axis=1, keepdims=True), dtype=np.float32)


QUERY = vectors(1, seed=7)[0]


def points(
    count: int, seed: int = 0, owner_id: UUID | None = None, dim: int = DIM, *, some_hidden: bool = False
) -> list[Point]:
    """Return points of both owners or of one, over all folders, categories, sets of tags and values of attributes."""
    choose = np.random.default_rng(seed + 1)

    def point(number: int, vector: Vector) -> Point:
        payload = Payload(
            owner_id=owner_id or [ALICE, BOB][choose.integers(2)],
            folder_id=FOLDERS[choose.integers(len(FOLDERS))],
            category=CATEGORIES[choose.integers(len(CATEGORIES))],
            tags=tuple(tag for tag in TAGS if choose.integers(2)),
            created_at=FIRST + timedelta(minutes=number),
            attributes={
                name: values[int(choose.integers(len(values)))]
                for name, values in _VALUES.items()
                if choose.integers(4)
            },
            labels=tuple(label for label in LABELS if choose.integers(2)),
            hidden=some_hidden and not choose.integers(4),
        )
        return Point(UUID(bytes=choose.bytes(16)), vector, payload)

    return [point(number, vector) for number, vector in enumerate(vectors(count, seed, dim))]


def holds(wanted: Filter, payload: Payload) -> bool:
    """Tell whether a payload passes a filter."""
    return (
        payload.owner_id == wanted.owner_id
        and wanted.folder_id in (None, payload.folder_id)
        and wanted.category in (None, payload.category)
        and set(wanted.tags) <= set(payload.tags)
        and (not wanted.any_tags or not set(wanted.any_tags).isdisjoint(payload.tags))
        and (wanted.created_from is None or payload.created_at >= wanted.created_from)
        and (wanted.created_before is None or payload.created_at < wanted.created_before)
        and set(wanted.labels) <= set(payload.labels)
        and (wanted.include_hidden or not payload.hidden)
        and all(_meets(payload.attributes.get(condition.field), condition) for condition in wanted.attributes)
    )


def _meets(value: Any, condition: Condition) -> bool:
    if value is None:
        return False
    match condition:
        case Equals(_, wanted):
            return bool(value == wanted)
        case AnyOf(_, values):
            return value in values
        case Between():
            return _within(value, condition)
        case During():
            return _within(datetime.fromisoformat(value), condition)


def _within(value: Any, bounds: Between | During) -> bool:
    return (
        (bounds.gte is None or value >= bounds.gte)
        and (bounds.gt is None or value > bounds.gt)
        and (bounds.lte is None or value <= bounds.lte)
        and (bounds.lt is None or value < bounds.lt)
    )


def brute_force(among: Sequence[Point], vector: Vector, wanted: Filter) -> list[Match]:
    """Return all that pass, best first, equal scores by id."""
    matches = [Match(point.id, float(point.vector @ vector)) for point in among if holds(wanted, point.payload)]
    return sorted(matches, key=lambda match: (-match.score, match.id))


def same(found: list[Match], ranking: list[Match], limit: int) -> bool:
    """Tell whether what was found are the first of a ranking of all that pass, up to rounding.

    So each has its own score, and that of its rank: of two whose scores are closer than that, either may come first.
    """
    scores = {match.id: match.score for match in ranking}
    return (
        len({match.id for match in found}) == len(found) == min(limit, len(ranking))
        and found == sorted(found, key=lambda match: (-match.score, match.id))
        and _close([match.score for match in found], [scores.get(match.id, np.nan) for match in found])
        and _close([match.score for match in found], [match.score for match in ranking[:limit]])
    )


def _close(some: list[float], others: list[float]) -> bool:
    return np.allclose(some, others, rtol=0, atol=ROUNDING)
