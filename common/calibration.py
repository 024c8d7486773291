"""What scores of a model mean: thresholds that are measured on one's own images and kept with the model."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Scores = NDArray[np.floating]

LEAST = 20
"""Fewer images say nothing."""
DEFAULT_SAMPLE = 500
LARGEST_SAMPLE = 5_000
LEAST_TITLED = 20
"""With fewer different titles, everyday sentences stand in for them."""


class ScoreThresholds(BaseModel):
    """The least cosine similarity, -1 to 1, at which something holds by a model."""

    model_config = ConfigDict(frozen=True)

    near_duplicate: float = Field(ge=-1, le=1)
    """Two images are the same picture: scaled, recompressed, cropped a little."""
    similar: float = Field(ge=-1, le=1)
    """Two images have more in common than almost all others have."""
    text_match: float = Field(ge=-1, le=1)
    """A sentence describes an image."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.near_duplicate < self.similar:
            raise ValueError("images that are nearly the same are similar")
        return self


class CalibrationParams(BaseModel):
    """How many images are looked at."""

    sample: int = Field(default=DEFAULT_SAMPLE, ge=LEAST, le=LARGEST_SAMPLE)


class Measured(BaseModel):
    """What a calibration found, and on how much."""

    model: str
    thresholds: ScoreThresholds
    images: int
    titles: int
    variants: int
    variants_found: float
    """The share of changed pictures that the threshold takes for near duplicates."""


def separate(alike: Scores, others: Scores) -> float:
    """Return the threshold that fails as often on the one side as on the other (the equal error rate).

    Where nothing overlaps, that is the middle between the two.

    Args:
        alike: scores that should pass, at least one.
        others: scores that should not, at least one.
    """
    steps = np.unique(np.concatenate([alike, others]))
    if len(steps) == 1:
        return float(steps[0])
    middles = (steps[1:] + steps[:-1]) / 2
    missed = np.searchsorted(np.sort(alike), middles) / len(alike)
    passed = 1 - np.searchsorted(np.sort(others), middles) / len(others)
    # Of several that are as good, the middle one.
    gaps = np.abs(missed - passed)
    best = np.flatnonzero(gaps == gaps.min())
    return float(middles[best[len(best) // 2]]) if missed[best].any() or passed[best].any() else _gap(alike, others)


def _gap(alike: Scores, others: Scores) -> float:
    return float((alike.min() + others.max()) / 2)
