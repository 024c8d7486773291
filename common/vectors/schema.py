"""How payloads and filters are spelled in Qdrant: one spelling for the server and for the engine in this process."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

from common.vectors.base import Filter, Payload

Kind = Literal["tenant", "uuid", "keyword", "datetime"]
"""How a field is indexed; `tenant` is a UUID by which storage is grouped, as every query asks for one of them."""

FIELDS: Mapping[str, Kind] = MappingProxyType(
    {
        "owner_id": "tenant",
        "folder_id": "uuid",
        "category": "keyword",
        "tags": "keyword",
        "created_at": "datetime",
    }
)
"""Every field a payload has: all are indexed, as a server in strict mode refuses to filter by any other."""


def to_fields(payload: Payload) -> dict[str, str | list[str]]:
    """Return a payload as stored. What an image lacks is left out: an index has no use for null."""
    fields: dict[str, str | list[str]] = {
        "owner_id": str(payload.owner_id),
        "folder_id": str(payload.folder_id),
        "tags": list(payload.tags),
        "created_at": payload.created_at.isoformat(),
    }
    if payload.category is not None:
        fields["category"] = payload.category
    return fields


@dataclass(frozen=True, slots=True)
class Equals:
    """A field has the value, or is a list that holds it."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A field has one of the values, or is a list that holds one of them."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class During:
    """A field is a time, not before `start` and before `end`; None: as early, or as late, as may be."""

    field: str
    start: datetime | None
    end: datetime | None


Condition = Equals | AnyOf | During


def to_conditions(wanted: Filter) -> list[Condition]:
    """Return a filter as conditions, all of which must hold."""
    conditions: list[Condition] = [Equals("owner_id", str(wanted.owner_id))]
    if wanted.folder_id is not None:
        conditions.append(Equals("folder_id", str(wanted.folder_id)))
    if wanted.category is not None:
        conditions.append(Equals("category", wanted.category))
    conditions += [Equals("tags", tag) for tag in wanted.tags]
    if wanted.any_tags:
        conditions.append(AnyOf("tags", wanted.any_tags))
    if wanted.created_from is not None or wanted.created_before is not None:
        conditions.append(During("created_at", wanted.created_from, wanted.created_before))
    return conditions


def from_fields(fields: Mapping[str, Any] | None) -> Payload | None:
    """Return a payload that was stored, or None for fields that `to_fields` never made."""
    try:
        given = dict(fields or {})
        payload = Payload(
            owner_id=UUID(given["owner_id"]),
            folder_id=UUID(given["folder_id"]),
            category=given.get("category"),
            tags=tuple(given["tags"]),
            created_at=datetime.fromisoformat(given["created_at"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return payload if to_fields(payload) == given else None
