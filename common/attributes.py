"""Attributes of images that searches may filter by: declared by configuration, indexed with the vectors.

An image's `attributes` are whatever JSON object its owner gives it. Those of its members that are plain values go into
the vector index's payload; those that `SEARCH__ATTRIBUTES` declares are indexed there, and results can be filtered by
these alone. So declaring one more builds an index, and writes no point anew.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

Value = str | int | float
"""What an attribute is in the vector index: truth is spelled out there, see `spell`."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""Names that need no quotes in a path of the vector index."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
"""What Python and the vector index both read, and alike; Python knows more of ISO 8601, on which the index chokes."""

MAX_TEXT = 256
"""Longer texts are for reading, not for filtering."""
MAX_EXACT = 2**53
"""From here on a JSON number may not be the one that was meant."""

_MAX_DECLARED = 50

Name = Annotated[str, StringConstraints(pattern=f"^{_NAME.pattern}$")]


class AttributeKind(StrEnum):
    """What an attribute's values are."""

    KEYWORD = "keyword"
    """Texts, compared as a whole."""
    INTEGER = "integer"
    NUMBER = "number"
    """With or without a fraction."""
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    """RFC 3339, with a zone."""


Declared = Mapping[str, AttributeKind]


class SearchSettings(BaseModel):
    """What searches can do."""

    attributes: dict[Name, AttributeKind] = Field(default_factory=dict, max_length=_MAX_DECLARED)
    """By which attributes results can be filtered; as JSON: `{"price": "number", "brand": "keyword"}`."""
    trial_share: float = Field(default=0, ge=0, le=1)
    """Of the searches, those that the building model on trial answers, where there is one."""


def fits(value: object, kind: AttributeKind) -> bool:
    """Tell whether a JSON value is one of the kind."""
    match value, kind:
        case bool(), _:
            return kind is AttributeKind.BOOLEAN
        case int(), AttributeKind.INTEGER | AttributeKind.NUMBER:
            return abs(value) <= MAX_EXACT
        case float(), AttributeKind.NUMBER:
            return math.isfinite(value)  # Python reads NaN and Infinity in JSON
        case str(), AttributeKind.KEYWORD:
            return len(value) <= MAX_TEXT
        case str(), AttributeKind.DATETIME:
            return _is_moment(value)
    return False


def spell(value: Any) -> Any:
    """Return a value as the vector index has it; the engine in this process takes `True` in a filter for 1."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def filterable(attributes: Mapping[str, Any]) -> dict[str, Value]:
    """Return those attributes that have a plain value, spelled, whether or not one can filter by them today."""
    return {
        name: spell(value)
        for name, value in attributes.items()
        if _NAME.fullmatch(name) and any(fits(value, kind) for kind in AttributeKind)
    }


def _is_moment(text: str) -> bool:
    if not _MOMENT.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or none in UTC
        return False
    return True
