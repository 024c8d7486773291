"""The outline of each shape: one closed polygon filling the unit circle (to 1 %), y pointing down."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corner points, (N, 2)."""

_ROUND: Final = 72  # corners that make a curve look smooth at several hundred pixels


def _arc(radius: float, start: float, stop: float, centre: float = 0.0) -> Polygon:
    """Return points of the arc between two angles (radians) round the point (centre, 0)."""
    angles = np.linspace(start, stop, _ROUND)
    return np.column_stack((centre + radius * np.cos(angles), radius * np.sin(angles)))


def _circle() -> Polygon:
    return _arc(0.92, 0.0, 2 * np.pi)


def _square() -> Polygon:
    return 0.7 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)


def _triangle() -> Polygon:
    angles = np.radians([-90, 30, 150])
    return np.column_stack((np.cos(angles), np.sin(angles)))


def _star() -> Polygon:
    angles = np.radians(np.arange(-90, 270, 36))
    radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.column_stack((radii * np.cos(angles), radii * np.sin(angles)))


def _heart() -> Polygon:
    # The classic parametric heart; 17 is how far its tip lies from the middle.
    t = np.linspace(0, 2 * np.pi, _ROUND)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.column_stack((16 * np.sin(t) ** 3, -y)) / 17


def _cross() -> Polygon:
    long, short = 0.95, 0.32
    arm = np.array([(short, -short), (long, -short), (long, short)])
    quarter_turn = np.array([(0, 1), (-1, 0)])
    return np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, turns) for turns in range(4)])


def _ring() -> Polygon:
    # The hole is walked backwards, so filling the one polygon leaves it empty.
    return np.concatenate((_arc(0.95, 0.0, 2 * np.pi), _arc(0.55, 2 * np.pi, 0.0)))


def _moon() -> Polygon:
    # A disc less a smaller one to its right; (x, y) is where the two edges meet.
    radius, bite, offset = 0.95, 0.78, 0.48
    x = (offset**2 + radius**2 - bite**2) / (2 * offset)
    y = np.sqrt(radius**2 - x**2)
    outer, inner = np.arctan2(y, x), np.arctan2(y, x - offset)
    return np.concatenate((_arc(radius, outer, 2 * np.pi - outer), _arc(bite, 2 * np.pi - inner, inner, centre=offset)))


_BUILDERS: Final[dict[str, Callable[[], Polygon]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
    "moon": _moon,
}

OUTLINES: Final[dict[str, Polygon]] = {shape: build() for shape, build in _BUILDERS.items()}


def rotated(polygon: Polygon, angle: float) -> Polygon:
    """Return the polygon turned by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Polygon = polygon @ np.array([(cos, sin), (-sin, cos)])
    return turned
