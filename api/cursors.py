"""Opaque page cursors: where a listing or a search goes on."""

import base64
import binascii
import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

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
        at = datetime.fromisoformat(created_at)
        if at.tzinfo is None:
            raise InvalidCursor("this is no cursor of a listing")
        return at.astimezone(UTC), UUID(id_)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidCursor("this is no cursor of a listing") from error


def encode_seen(seen: Seen) -> str:
    """Make a cursor of how far a reader of search results is."""
    return _encode([seen.count, seen.score, str(seen.id)])


def decode_seen(cursor: str | None) -> Seen | None:
    """Read a search's cursor, or raise `InvalidCursor`."""
    if cursor is None:
        return None
    try:
        count, score, id_ = _decode(cursor)
        if type(count) is int and type(score) is float and 0 < count <= MAX_SEARCH_DEPTH and math.isfinite(score):
            return Seen(count, score, UUID(id_))
    except (TypeError, ValueError, AttributeError) as error:
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


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _decode(cursor: str) -> Any:
    try:
        return json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidCursor("this is no cursor") from error
