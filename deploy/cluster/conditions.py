"""Filters as Qdrant's REST interface has them, read back into what `common/vectors/schema.py` made them of; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from common.vectors.base import AnyOf, Between, Condition, During, Equals, Filter

Json = Any
_ATTRIBUTE = "attributes."


def read_filter(body: Json) -> Filter:
    """Return the filter of a request.

    Raises:
        ValueError: it is none that `to_conditions` could have made.
    """
    try:
        return from_conditions([_condition(each) for each in body["must"]])
    except (KeyError, TypeError) as error:
        raise ValueError("a filter that this index does not know") from error


def from_conditions(conditions: Sequence[Condition]) -> Filter:
    """Return the filter of which `to_conditions` made these."""
    fields: dict[str, Any] = {}
    for condition in conditions:
        for name, value in _fields(condition).items():
            fields[name] = (*fields[name], *value) if isinstance(value, tuple) and name in fields else value
    return Filter(**fields)


def _fields(condition: Condition) -> dict[str, Any]:
    match condition:
        case Equals("owner_id", owner):
            return {"owner_id": UUID(str(owner))}
        case AnyOf("owner_id", (owner, _)):
            return {"owner_id": UUID(str(owner)), "include_hidden": True}
        case Equals("folder_id", folder):
            return {"folder_id": UUID(str(folder))}
        case Equals("category", category):
            return {"category": category}
        case Equals("tags" | "labels" as name, value):
            return {name: (value,)}
        case AnyOf("tags", values):
            return {"any_tags": values}
        case During("created_at", gte, _, _, lt):
            return {"created_from": gte, "created_before": lt}
    if not condition.field.startswith(_ATTRIBUTE):
        raise ValueError(f"no filter by {condition.field!r}")
    return {"attributes": (replace(condition, field=condition.field.removeprefix(_ATTRIBUTE)),)}


def _condition(body: Mapping[str, Json]) -> Condition:
    field = body["key"]
    if body.get("range") is not None:
        bounds = {name: bound for name, bound in body["range"].items() if bound is not None}
        if any(isinstance(bound, str) for bound in bounds.values()):
            return During(field, **{name: datetime.fromisoformat(bound) for name, bound in bounds.items()})
        return Between(field, **bounds)
    match = body["match"]
    return AnyOf(field, tuple(match["any"])) if "any" in match else Equals(field, match["value"])
