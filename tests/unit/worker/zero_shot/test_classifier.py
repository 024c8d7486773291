"""Labels against neutral texts: shares of a softmax, each for itself."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.zero_shot.classifier import Classifier, ensemble, select


def at(*cosines: float) -> NDArray[np.float32]:
    """Return unit vectors whose similarity to the first axis is as given; float32 of shape (N, 2)."""
    return np.array([[cosine, math.sqrt(1 - cosine**2)] for cosine in cosines], dtype=np.float32)


IMAGE = np.array([1, 0], dtype=np.float32)


def test_a_score_is_the_labels_share_against_all_neutral_texts() -> None:
    classifier = Classifier(["star", "moon"], at(0.3, 0.2), at(0.25, 0.1), scale=10)
    scores = classifier.score(IMAGE)
    against = math.exp(2.5) + math.exp(1)
    assert scores == {
        "star": pytest.approx(math.exp(3) / (math.exp(3) + against), abs=1e-5),
        "moon": pytest.approx(math.exp(2) / (math.exp(2) + against), abs=1e-5),
    }


def test_labels_do_not_compete_with_each_other() -> None:
    alone = Classifier(["star"], at(0.3), at(0.1), scale=100).score(IMAGE)
    together = Classifier(["star", "moon", "red"], at(0.3, 0.3, 0.31), at(0.1), scale=100).score(IMAGE)
    assert together["star"] == alone["star"]
    assert min(together.values()) > 0.99


def test_a_label_that_fits_no_better_than_anything_else_is_as_likely_as_not() -> None:
    assert Classifier(["star"], at(0.2), at(0.2), scale=100).score(IMAGE) == {"star": pytest.approx(0.5)}


@pytest.mark.filterwarnings("error")
def test_no_scale_is_too_much() -> None:
    scores = Classifier(["like", "unlike"], at(1, -1), at(0), scale=1000).score(IMAGE)
    assert scores == {"like": 1.0, "unlike": 0.0}


def test_the_best_that_reach_the_threshold_are_selected() -> None:
    scores = {"b": 0.9, "a": 0.9, "c": 0.8, "d": 0.95, "e": 0.79}
    assert list(select(scores, threshold=0.8, most=10).items()) == [("d", 0.95), ("a", 0.9), ("b", 0.9), ("c", 0.8)]
    assert list(select(scores, threshold=0.8, most=2)) == ["d", "a"]
    assert select(scores, threshold=0.96, most=2) == {}


def test_prompts_become_their_mean() -> None:
    assert np.allclose(ensemble([np.array([1, 0]), np.array([0, 1])]), [math.sqrt(0.5)] * 2)
