"""What counts as a duplicate: three tiers, and the thresholds between them; pure."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, Field

from common.imaging import HASH_BITS


class Tier(StrEnum):
    """How alike images are."""

    EXACT = "exact"
    """The same bytes, in several folders."""
    NEAR = "near"
    """The same picture, encoded anew, resized or a little changed: both perceptual hash and vector say so."""
    SIMILAR = "similar"
    """Pictures that look alike, by their vectors alone."""


LINKED = (Tier.NEAR, Tier.SIMILAR)
"""The tiers that are told by comparing pictures."""


@dataclass(frozen=True, slots=True)
class DuplicateThresholds:
    """What makes a pair near, or similar.

    Attributes:
        near_distance: most bits in which perceptual hashes may differ.
        near_score: least cosine similarity; it has to keep apart only what the hash can't.
        similar_score: least cosine similarity without a word from the hash.
    """

    near_distance: int
    near_score: float
    similar_score: float

    @property
    def least_score(self) -> float:
        """Below this a pair is neither."""
        return min(self.near_score, self.similar_score)

    def tier(self, distance: int | None, score: float) -> Tier | None:
        """Return the tier of two different files; `distance` is None where one of them has no perceptual hash."""
        if distance is not None and distance <= self.near_distance and score >= self.near_score:
            return Tier.NEAR
        return Tier.SIMILAR if score >= self.similar_score else None


class DuplicateSettings(BaseModel):
    """How duplicates are told (`DUPLICATES__…`); what was measured is in decision 16."""

    near_distance: int = Field(default=8, ge=0, le=HASH_BITS)
    """Most bits in which the perceptual hashes of near duplicates differ."""
    near_score: float = Field(default=0.75, ge=-1, le=1)
    """Least cosine similarity of near duplicates."""
    similar_score: float = Field(default=0.95, ge=-1, le=1)
    """Least cosine similarity of pictures that look alike, whatever their hashes say."""

    def thresholds(self) -> DuplicateThresholds:
        """Return the thresholds of the active model: here is where its calibration comes in."""
        return DuplicateThresholds(self.near_distance, self.near_score, self.similar_score)
