"""Thresholds, and what separates scores best."""

import numpy as np
import pytest
from pydantic import ValidationError

from common.calibration import ScoreThresholds, separate


def test_between_two_heaps_the_middle() -> None:
    assert separate(np.array([0.9, 0.8]), np.array([0.1, 0.3])) == pytest.approx(0.55)


def test_where_heaps_overlap_as_many_fail_on_either_side() -> None:
    choose = np.random.default_rng(1)
    alike, others = choose.normal(0.6, 0.1, 20_000), choose.normal(0.4, 0.1, 1_000)
    threshold = separate(alike, others)
    assert threshold == pytest.approx(0.5, abs=0.01)
    assert np.mean(alike < threshold) == pytest.approx(np.mean(others >= threshold), abs=0.005)


def test_where_all_are_equal_there_is_one_answer() -> None:
    assert separate(np.array([0.5]), np.array([0.5, 0.5])) == 0.5


def test_thresholds_are_in_order() -> None:
    with pytest.raises(ValidationError):
        ScoreThresholds(near_duplicate=0.5, similar=0.6, text_match=0.2)
