"""How sure a CLIP model is that an image shows something, by vectors alone. Pure.

CLIP is trained to tell which of several texts belongs to an image, by a softmax over their cosine similarities times a
learned scale (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section
2.3), and classifies by putting one text for each class to that choice (section 3.1). There the classes compete: of two
that are both there, each gets half. Labels here do not exclude each other. So each is put to a choice of its own,
against neutral texts that any image would do for, and its score is the share it gets. A cosine similarity itself would
be no score: what is a high one differs from model to model, and from text to text.

Several prompts for one label become one vector, the mean (section 3.1.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Knows some labels in one model's space.

    Attributes:
        labels: L of them.
        concepts: what each looks like, float32 of shape (L, D), rows L2-normalised.
        neutral: what competes with each, float32 of shape (N, D), rows L2-normalised.
        scale: of the model; what cosine similarities are multiplied by before the softmax.
    """

    labels: Sequence[str]
    concepts: NDArray[np.float32]
    neutral: NDArray[np.float32]
    scale: float

    def score(self, vector: Vector) -> dict[str, float]:
        """Return for each label its share, 0 to 1, of a softmax over it and the neutral texts.

        Args:
            vector: of an image, float32 of shape (D,), L2-normalised.
        """
        image = vector.astype(np.float64)
        neutral = self.scale * (self.neutral @ image)
        concepts = self.scale * (self.concepts @ image)
        # log(e^l / (e^l + Σ e^n)), which no scale lets overflow.
        shares = np.exp(concepts - np.logaddexp(concepts, np.logaddexp.reduce(neutral)))
        return dict(zip(self.labels, shares.tolist(), strict=True))


def select(scores: dict[str, float], *, threshold: float, most: int) -> dict[str, float]:
    """Return up to `most` labels that reach the threshold, best first, equal ones in their order."""
    reached = sorted((-score, label) for label, score in scores.items() if score >= threshold)
    return {label: -negative for negative, label in reached[:most]}


def ensemble(vectors: Sequence[Vector]) -> Vector:
    """Return the mean of L2-normalised vectors, normalised."""
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)
