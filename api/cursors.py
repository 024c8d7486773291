"""Opaque page cursors: where a listing or a search goes on."""

import base64
import binascii
import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from api.paging import MAX_SEARCH_DEPTH, Seen
from common.db.images import Position
from common.errors import InvalidCursor

MAX_LIMIT = 200
"""Most items of one page."""


def encode_position(position: Position) -> str:
    """Make a cursor of the last image of a listing's page."""
    return _encode([position[0].isoformat(), str(position[1])])


def decode_position(cursor: str | None) -> Position | None:
    """Read a listing's cursor, or raise `InvalidCursor`."""
    if cursor is None:
        return None
    try:
        created_at, id_ = _decode(cursor)
        return _moment(created_at), UUID(id_)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidCursor("this is no cursor of a listing") from error


def encode_seen(seen: Seen) -> str:
    """Make a cursor of how far a reader of search results is."""
    as_of = seen.as_of.isoformat() if seen.as_of else None
    return _encode([seen.count, seen.score, str(seen.id), seen.model_id, as_of])


def decode_seen(cursor: str | None) -> Seen | None:
    """Read a search's cursor, or raise `InvalidCursor`."""
    if cursor is None:
        return None
    try:
        count, score, id_, model_id, as_of = _decode(cursor)
        moment = _moment(as_of) if as_of is not None else None
        numbers = type(count) is int and type(score) is float and type(model_id) is int
        if numbers and 0 < count <= MAX_SEARCH_DEPTH and math.isfinite(score):
            return Seen(count, score, UUID(id_), model_id, moment)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidCursor("this is no cursor of a search") from error
    raise InvalidCursor("this is no cursor of a search")


def encode_id(id_: UUID) -> str:
    """Make a cursor of the last id of a page that is in the order of ids."""
    return _encode(str(id_))


def decode_id(cursor: str | None) -> UUID | None:
    """Read the cursor of a page in the order of ids, or raise `InvalidCursor`."""
    if cursor is None:
        return None
    try:
        return UUID(_decode(cursor))
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidCursor("this is no cursor of this listing") from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment has a zone")
    return moment.astimezone(UTC)


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _decode(cursor: str) -> Any:
    try:
        return json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidCursor("this is no cursor") from error
