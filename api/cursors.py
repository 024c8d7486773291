"""Opaque page cursors: where a listing or a search goes on."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from common.db.images import Position
from common.errors import InvalidCursor

MAX_LIMIT = 200
"""Most items of one page."""

MAX_SEARCH_DEPTH = 1000
"""How deep search results can be paged: the vector index ranks everything before a page anew."""


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


def encode_offset(offset: int) -> str:
    """Make a cursor of how many results of a search were shown."""
    return _encode(offset)


def decode_offset(cursor: str | None) -> int:
    """Read a search's cursor, or raise `InvalidCursor`."""
    if cursor is None:
        return 0
    offset = _decode(cursor)
    if type(offset) is not int or not 0 < offset < MAX_SEARCH_DEPTH:
        raise InvalidCursor("this is no cursor of a search")
    return offset


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _decode(cursor: str) -> Any:
    try:
        return json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidCursor("this is no cursor") from error
