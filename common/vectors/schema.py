"""How payloads and filters are spelled in Qdrant: one spelling for the server and for the engine in this process."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID, uuid5

from common.attributes import AttributeKind, Declared, filterable
from common.vectors.base import AnyOf, Condition, During, Equals, Filter, Payload

Kind = Literal["tenant", "uuid", "keyword", "datetime", "integer", "float"]
"""How a field is indexed; `tenant` is a UUID by which storage is grouped, as every query asks for one of them."""

FIELDS: Mapping[str, Kind] = MappingProxyType(
    {
        "owner_id": "tenant",
        "folder_id": "uuid",
        "category": "keyword",
        "tags": "keyword",
        "created_at": "datetime",
        "labels": "keyword",
    }
)
"""What is indexed of every payload, beside declared attributes: a server in strict mode refuses to filter by others."""


_KINDS: Mapping[AttributeKind, Kind] = MappingProxyType(
    {
        AttributeKind.KEYWORD: "keyword",
        AttributeKind.INTEGER: "integer",
        AttributeKind.NUMBER: "float",
        AttributeKind.BOOLEAN: "keyword",
        AttributeKind.DATETIME: "datetime",
    }
)


_HIDDEN_OF = "hidden_of"
"""Whose a hidden point is; not indexed."""


def indexed_fields(declared: Declared) -> dict[str, Kind]:
    """Return every field that is indexed, and how; `declared` are the attributes among them."""
    return {**FIELDS, **{_path(name): _KINDS[kind] for name, kind in declared.items()}}


def _path(attribute: str) -> str:
    return f"attributes.{attribute}"


def to_fields(payload: Payload) -> dict[str, Any]:
    """Return a payload as stored. What an image lacks is left out: an index has no use for null."""
    fields: dict[str, Any] = {
        "owner_id": str(payload.owner_id),
        "folder_id": str(payload.folder_id),
        "tags": list(payload.tags),
        "created_at": payload.created_at.isoformat(),
    }
    if payload.category is not None:
        fields["category"] = payload.category
    if payload.attributes:
        fields["attributes"] = dict(payload.attributes)
    if payload.labels:
        fields["labels"] = list(payload.labels)
    if payload.hidden:
        fields["owner_id"] = _hidden_tenant(payload.owner_id)
        fields[_HIDDEN_OF] = str(payload.owner_id)
    return fields


def _hidden_tenant(owner_id: UUID) -> str:
    """Return whose an owner's hidden points are in the index.

    A tenant of their own makes them cost nothing where nobody asks for them. A condition that leaves them out would be
    looked at for every point: it took four times as long to compare 20,000 by the engine in this process.
    """
    return str(uuid5(owner_id, "hidden"))


def to_conditions(wanted: Filter) -> list[Condition]:
    """Return a filter as conditions, all of which must hold."""
    owner = str(wanted.owner_id)
    conditions: list[Condition] = [
        AnyOf("owner_id", (owner, _hidden_tenant(wanted.owner_id)))
        if wanted.include_hidden
        else Equals("owner_id", owner)
    ]
    if wanted.folder_id is not None:
        conditions.append(Equals("folder_id", str(wanted.folder_id)))
    if wanted.category is not None:
        conditions.append(Equals("category", wanted.category))
    conditions += [Equals("tags", tag) for tag in wanted.tags]
    conditions += [Equals("labels", label) for label in wanted.labels]
    if wanted.any_tags:
        conditions.append(AnyOf("tags", wanted.any_tags))
    if wanted.created_from is not None or wanted.created_before is not None:
        conditions.append(During("created_at", gte=wanted.created_from, lt=wanted.created_before))
    return conditions + [replace(condition, field=_path(condition.field)) for condition in wanted.attributes]


def from_fields(fields: Mapping[str, Any] | None) -> Payload | None:
    """Return a payload that was stored, or None for fields that `to_fields` never made."""
    try:
        given = dict(fields or {})
        payload = Payload(
            owner_id=UUID(given.get(_HIDDEN_OF, given["owner_id"])),
            folder_id=UUID(given["folder_id"]),
            category=given.get("category"),
            tags=tuple(given["tags"]),
            created_at=datetime.fromisoformat(given["created_at"]),
            attributes=filterable(given.get("attributes", {})),
            labels=tuple(given.get("labels", ())),
            hidden=_HIDDEN_OF in given,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return payload if to_fields(payload) == given else None
