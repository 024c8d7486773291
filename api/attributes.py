"""Declared attributes in requests: conditions on them, and values that they may have."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from api.schemas.text import JsonObject
from common.attributes import AttributeKind, Declared, fits, spell
from common.errors import InvalidInput
from common.vectors.base import AnyOf, Between, Condition, During, Equals

_JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(JsonObject)
_BOUNDS = frozenset({"gte", "gt", "lte", "lt"})
_MAX_VALUES = 50
_RANGED = frozenset({AttributeKind.INTEGER, AttributeKind.NUMBER, AttributeKind.DATETIME})
_LISTED = frozenset({AttributeKind.KEYWORD, AttributeKind.INTEGER})


def check_values(attributes: Mapping[str, Any], declared: Declared) -> None:
    """Refuse a declared attribute whose value is none of its kind: no filter would ever find it. Null is no value.

    Raises:
        InvalidInput: `invalid_attribute`.
    """
    for name in attributes.keys() & declared.keys():
        if attributes[name] is not None and not fits(attributes[name], declared[name]):
            raise InvalidInput(f"the attribute {name!r} is declared as {declared[name]}", code="invalid_attribute")


def parse_conditions(given: Mapping[str, Any], declared: Declared) -> tuple[Condition, ...]:
    """Read conditions on attributes: a value, a list of values of which one must be met, or an object of bounds.

    Args:
        given: by attribute, such as `{"brand": "acme", "size": [42, 43], "price": {"gt": 10, "lte": 100}}`.
        declared: the attributes by which one can filter.

    Raises:
        InvalidInput: `unknown_attribute`, or `invalid_attribute_filter`.
    """
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise InvalidInput(
            f"there is no filter by {', '.join(unknown)}; declared in SEARCH__ATTRIBUTES: {known}",
            code="unknown_attribute",
        )
    return tuple(_parse_condition(name, wanted, declared[name]) for name, wanted in given.items())


def parse_json_conditions(text: str | None, declared: Declared) -> tuple[Condition, ...]:
    """Read conditions from the JSON of a query parameter, see `parse_conditions`."""
    if text is None:
        return ()
    try:
        given = _JSON.validate_json(text)
    except ValidationError as error:
        raise InvalidInput("the parameter `attributes` is no JSON object", code="invalid_attribute_filter") from error
    return parse_conditions(given, declared)


def _parse_condition(name: str, wanted: Any, kind: AttributeKind) -> Condition:
    match wanted:
        case dict() if kind in _RANGED and wanted and wanted.keys() <= _BOUNDS and _all_fit(wanted.values(), kind):
            if kind is AttributeKind.DATETIME:
                return During(name, **{bound: datetime.fromisoformat(value) for bound, value in wanted.items()})
            return Between(name, **wanted)
        case list() if kind in _LISTED and 0 < len(wanted) <= _MAX_VALUES and _all_fit(wanted, kind):
            return AnyOf(name, tuple(wanted))
        case str() | int() | float() if fits(wanted, kind):
            return _equal(name, wanted, kind)
    raise InvalidInput(f"{name!r} is {_describe(kind)}", code="invalid_attribute_filter")


def _equal(name: str, value: Any, kind: AttributeKind) -> Condition:
    match kind:
        case AttributeKind.NUMBER:  # of which the index knows ranges alone
            return Between(name, gte=value, lte=value)
        case AttributeKind.DATETIME:
            moment = datetime.fromisoformat(value)
            return During(name, gte=moment, lte=moment)
        case _:
            return Equals(name, spell(value))


def _all_fit(values: Any, kind: AttributeKind) -> bool:
    return all(fits(value, kind) for value in values)


def _describe(kind: AttributeKind) -> str:
    forms = ["a value"]
    if kind in _LISTED:
        forms.append(f"a list of up to {_MAX_VALUES} values")
    if kind in _RANGED:
        forms.append("an object with some of the bounds gte, gt, lte and lt")
    return f"declared as {kind}: filter by " + ", or by ".join(forms)
