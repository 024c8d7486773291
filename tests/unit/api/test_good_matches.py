"""Which score makes a good match."""

from uuid import UUID

import pytest

from api.examples import Example
from api.good_matches import good_score, require_good
from common.calibration import ScoreThresholds
from common.errors import Conflict, InvalidInput

THRESHOLDS = ScoreThresholds(near_duplicate=0.9, similar=0.7, text_match=0.25)


def test_texts_and_images_have_their_own() -> None:
    assert good_score([Example("a"), Example("b", 2)], THRESHOLDS) == 0.25
    assert good_score([Example(UUID(int=1))], THRESHOLDS) == 0.7
    assert good_score([], THRESHOLDS) == 0.7


def test_nothing_is_known_of_mixtures_or_without_a_calibration() -> None:
    assert good_score([Example("a"), Example(UUID(int=1))], THRESHOLDS) is None
    assert good_score([Example("a"), Example("b", -1)], THRESHOLDS) is None
    assert good_score([Example("a")], None) is None


def test_who_wants_good_ones_alone_learns_why_that_can_not_be_told() -> None:
    assert require_good(0.25, THRESHOLDS) == 0.25
    with pytest.raises(Conflict) as uncalibrated:
        require_good(None, None)
    assert uncalibrated.value.code == "not_calibrated"
    with pytest.raises(InvalidInput) as mixed:
        require_good(None, THRESHOLDS)
    assert mixed.value.code == "no_threshold"
