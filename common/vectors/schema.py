"""How payloads and filters are spelled in Qdrant: one spelling for the server and for the engine in this process."""

from collections.abc import Mapping
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


def to_equalities(wanted: Filter) -> list[tuple[str, str]]:
    """Return a filter as pairs of field and value, all of which must hold.

    A list of values equals a value if it holds it, which makes a pair of each tag.
    """
    equalities = [("owner_id", str(wanted.owner_id))]
    if wanted.folder_id is not None:
        equalities.append(("folder_id", str(wanted.folder_id)))
    if wanted.category is not None:
        equalities.append(("category", wanted.category))
    return equalities + [("tags", tag) for tag in wanted.tags]


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
