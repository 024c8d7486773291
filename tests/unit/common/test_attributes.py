"""Which values an attribute of each kind has, and what of an image's attributes the vector index gets."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from common.attributes import MAX_EXACT, MAX_TEXT, AttributeKind, SearchSettings, filterable, fits

FITTING: dict[AttributeKind, list[Any]] = {
    AttributeKind.KEYWORD: ["", "a", "ä" * MAX_TEXT],
    AttributeKind.INTEGER: [0, -1, MAX_EXACT, -MAX_EXACT],
    AttributeKind.NUMBER: [0, 1.5, -1e300],
    AttributeKind.BOOLEAN: [True, False],
    AttributeKind.DATETIME: ["2026-01-01T00:00:00Z", "2026-01-01T05:00:00.5+05:00"],
}
UNFIT: dict[AttributeKind, list[Any]] = {
    AttributeKind.KEYWORD: ["a" * (MAX_TEXT + 1), 1, True, None, [], {}],
    AttributeKind.INTEGER: ["1", 1.0, True, MAX_EXACT + 1, None, [1]],
    AttributeKind.NUMBER: ["1", True, MAX_EXACT + 1, None, [1.5], math.nan, math.inf, -math.inf],
    AttributeKind.BOOLEAN: [0, 1, "true", None],
    AttributeKind.DATETIME: [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "yesterday",
        1767225600,
        None,
        "20260101T000000Z",
        "2026-W01-4T00:00:00Z",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00+00:00:30",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
    ],
}


@pytest.mark.parametrize("kind", AttributeKind)
def test_what_fits(kind: AttributeKind) -> None:
    assert [value for value in FITTING[kind] if not fits(value, kind)] == []
    assert [value for value in UNFIT[kind] if fits(value, kind)] == []


def test_plain_values_are_filterable_and_truth_is_spelled_out() -> None:
    attributes = {"a": "x", "b": 1, "c": 0.5, "d": True, "e": False, "_f": "2026-01-01T00:00:00Z"}
    assert filterable(attributes) == {**attributes, "d": "true", "e": "false"}


def test_the_rest_is_not() -> None:
    nested = {"list": [1], "object": {"a": 1}, "null": None, "long": "a" * (MAX_TEXT + 1), "large": 2**60}
    assert filterable({**nested, "a.b": 1, "1a": 1, "ä": 1, "": 1, "a" * 65: 1}) == {}


@pytest.mark.parametrize(
    "declared", [{"a b": "number"}, {"a": "float"}, {"a": 1}, {f"a{number}": "number" for number in range(51)}], ids=str
)
def test_what_can_not_be_declared(declared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchSettings.model_validate({"attributes": declared})
