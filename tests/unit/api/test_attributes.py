"""Conditions on declared attributes, as clients write them."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from api.attributes import check_values, parse_conditions, parse_json_conditions
from common.attributes import AttributeKind
from common.errors import InvalidInput
from common.vectors.base import AnyOf, Between, Condition, During, Equals

DECLARED = {
    "brand": AttributeKind.KEYWORD,
    "size": AttributeKind.INTEGER,
    "price": AttributeKind.NUMBER,
    "sold": AttributeKind.BOOLEAN,
    "made": AttributeKind.DATETIME,
}
NOON = "2026-01-01T12:00:00Z"
MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"brand": "acme"}, Equals("brand", "acme")),
        ({"brand": ["acme", "b"]}, AnyOf("brand", ("acme", "b"))),
        ({"size": 42}, Equals("size", 42)),
        ({"size": [42, 43]}, AnyOf("size", (42, 43))),
        ({"size": {"gt": 1, "lte": 5}}, Between("size", gt=1, lte=5)),
        ({"price": {"lte": 100}}, Between("price", lte=100)),
        ({"price": 9.5}, Between("price", gte=9.5, lte=9.5)),
        ({"sold": True}, Equals("sold", "true")),
        ({"sold": False}, Equals("sold", "false")),
        ({"made": {"gte": NOON}}, During("made", gte=MOMENT)),
        ({"made": NOON}, During("made", gte=MOMENT, lte=MOMENT)),
    ],
    ids=str,
)
def test_conditions(given: dict[str, Any], expected: Condition) -> None:
    assert parse_conditions(given, DECLARED) == (expected,)


@pytest.mark.parametrize(
    "given",
    [
        {"brand": 1},
        {"brand": []},
        {"brand": ["a", 1]},
        {"brand": ["a"] * 51},
        {"brand": {"gte": "a"}},
        {"size": "42"},
        {"size": 1.5},
        {"size": True},
        {"size": {}},
        {"size": {"gte": 1.5}},
        {"size": {"from": 1}},
        {"price": "9.50"},
        {"price": [1, 2]},
        {"price": {"lte": None}},
        {"sold": 1},
        {"sold": "true"},
        {"sold": [True]},
        {"made": "2026-01-01"},
        {"made": {"gte": 5}},
        {"brand": None},
        {"price": {"lte": math.nan}},
        {"price": math.inf},
        {"made": {"gte": "2026-01-01T00:00:00+00:00:30"}},
    ],
    ids=str,
)
def test_what_is_no_condition(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_conditions(given, DECLARED)
    assert refused.value.code == "invalid_attribute_filter"


def test_attributes_that_are_not_declared_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"colour, weight; .* brand, made, price, size, sold") as refused:
        parse_conditions({"weight": 1, "colour": "red", "size": 1}, DECLARED)
    assert refused.value.code == "unknown_attribute"
    with pytest.raises(InvalidInput, match="none"):
        parse_conditions({"size": 1}, {})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "[" * 100_000, '{"price": NaN}', '{"brand": "\\ud800"}', '{"brand": "\\u0000"}']
)
def test_a_parameter_that_is_no_json_object(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_json_conditions(text, DECLARED)
    assert refused.value.code == "invalid_attribute_filter"


def test_a_parameter() -> None:
    assert parse_json_conditions(None, DECLARED) == ()
    assert parse_json_conditions('{"size": 1, "brand": "a"}', DECLARED) == (Equals("size", 1), Equals("brand", "a"))


def test_values_that_no_filter_would_find_are_refused() -> None:
    check_values({"brand": "a", "size": None, "colour": ["red"], "price": 1}, DECLARED)
    for name, value in {"price": "12", "size": 1.5, "sold": "yes", "made": "2026", "brand": 3}.items():
        with pytest.raises(InvalidInput, match=name) as refused:
            check_values({name: value}, DECLARED)
        assert refused.value.code == "invalid_attribute"
