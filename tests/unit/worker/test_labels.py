"""Labels that can't be kept are refused before they reach a statement that they would share with others."""

import math

import pytest

from worker.labels import MAX_LABEL_CHARS, MAX_LABELS, check

GOOD = {"a star": 0.5, "Hüte & Mützen": 0, "x" * MAX_LABEL_CHARS: 1}


def test_what_can_be_kept() -> None:
    check("tagging", GOOD)
    check("my-stage_2.b", {})
    check("s", {str(number): 1.0 for number in range(MAX_LABELS)})


@pytest.mark.parametrize("source", ["", "owner", "Tagging", "a b", "1st", "x" * 64])
def test_the_stage_needs_a_plain_name_that_is_not_the_owners(source: str) -> None:
    with pytest.raises(ValueError, match="can't be named"):
        check(source, GOOD)


@pytest.mark.parametrize("label", ["", "x" * (MAX_LABEL_CHARS + 1), "nul\0", "two\nlines", "half\ud800"], ids=ascii)
def test_labels_are_short_printable_texts(label: str) -> None:
    with pytest.raises(ValueError, match="is no label"):
        check("tagging", {label: 0.5})


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan, math.inf])
def test_scores_are_shares(score: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        check("tagging", {"a star": score})


def test_labels_are_not_without_number() -> None:
    with pytest.raises(ValueError, match="at most"):
        check("tagging", {str(number): 1.0 for number in range(MAX_LABELS + 1)})
