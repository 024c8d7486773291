"""Cursors: what was issued comes back, everything else is refused as what it is, a cursor of another kind included."""

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.cursors import decode_id, decode_position, decode_seen, encode_id, encode_position, encode_seen
from api.paging import MAX_SEARCH_DEPTH, Seen
from common.errors import InvalidCursor

# PostgreSQL's timestamps are in microseconds, like Python's.
TIMES = st.datetimes(timezones=st.just(UTC))
ID = "00000000-0000-4000-8000-000000000001"


def cursor_of(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@settings(derandomize=True)
@given(at=TIMES, id_=st.uuids())
def test_a_position_comes_back(at: datetime, id_: UUID) -> None:
    cursor = encode_position((at, id_))
    assert decode_position(cursor) == (at, id_)
    assert cursor.replace("-", "").replace("_", "").isalnum(), "it goes into a query string as it is"


def test_a_position_in_another_zone_is_the_same_moment() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    decoded = decode_position(encode_position((at, UUID(ID))))
    assert decoded is not None
    assert decoded[0] == at


@settings(derandomize=True)
@given(
    count=st.integers(1, MAX_SEARCH_DEPTH),
    score=st.floats(-1, 1, width=32),
    id_=st.uuids(),
    model_id=st.integers(1, 2**31 - 1),
)
def test_how_far_a_reader_is_comes_back(count: int, score: float, id_: UUID, model_id: int) -> None:
    seen = Seen(count, score, id_, model_id)
    assert decode_seen(encode_seen(seen)) == seen


def test_no_cursor_is_the_first_page() -> None:
    assert decode_position(None) is None
    assert decode_seen(None) is None


@pytest.mark.parametrize(
    "seen",
    [
        20,
        None,
        True,
        "abc",
        [],
        [1, 0.5],
        [0, 0.5, ID, 1],
        [-1, 0.5, ID, 1],
        [MAX_SEARCH_DEPTH + 1, 0.5, ID, 1],
        [True, 0.5, ID, 1],
        [1.5, 0.5, ID, 1],
        [1, 1, ID, 1],
        [1, "0.5", ID, 1],
        [1, float("nan"), ID, 1],
        [1, float("inf"), ID, 1],
        [1, 0.5, "1", 1],
        [1, 0.5, 1, 1],
        [1, 0.5, ID],
        [1, 0.5, ID, "1"],
        [1, 0.5, ID, 1, 1],
    ],
    ids=str,
)
def test_what_was_never_seen_is_refused(seen: Any) -> None:
    with pytest.raises(InvalidCursor, match="search"):
        decode_seen(cursor_of(seen))


@pytest.mark.parametrize(
    "position",
    [
        1,
        None,
        "ab",
        [],
        ["2026-01-01T00:00:00+00:00"],
        ["2026-01-01T00:00:00+00:00", ID, 1],
        ["2026-01-01T00:00:00", ID],
        ["yesterday", ID],
        ["2026-01-01T00:00:00+00:00", "1"],
        ["2026-01-01T00:00:00+00:00", 1],
        [1, ID],
        [[], ID],
        {"a": 1, "b": 2},
        # Moments that no clock in UTC shows: the database would choke on them.
        ["9999-12-31T23:59:59-23:59", ID],
        ["0001-01-01T00:00:00+23:59", ID],
    ],
)
def test_a_position_that_was_never_issued_is_refused(position: Any) -> None:
    with pytest.raises(InvalidCursor, match="listing"):
        decode_position(cursor_of(position))


@pytest.mark.parametrize("id_", [1, None, "1", [ID], {"id": ID}], ids=str)
def test_an_id_that_was_never_issued_is_refused(id_: Any) -> None:
    with pytest.raises(InvalidCursor, match="listing"):
        decode_id(cursor_of(id_))
    assert decode_id(encode_id(UUID(ID))) == UUID(ID)


def test_a_cursor_of_the_other_kind_is_refused() -> None:
    with pytest.raises(InvalidCursor):
        decode_position(encode_seen(Seen(20, 0.5, uuid4(), 1)))
    with pytest.raises(InvalidCursor):
        decode_seen(encode_position((datetime.now(UTC), uuid4())))


@settings(derandomize=True, max_examples=300)
@given(text=st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
@example(text="")
@example(text="=")
@example(text="AAA")
@example(text="ä")
@example(text=cursor_of([[]] * 3) + "!")
@example(text=base64.urlsafe_b64encode(b"[" * 100_000).decode())
@example(text=base64.urlsafe_b64encode(b"9" * 5_000).decode())
@example(text=base64.urlsafe_b64encode(b"\xff").decode())
def test_nonsense_is_an_invalid_cursor_and_nothing_worse(text: str) -> None:
    for decode in (decode_position, decode_seen, decode_id):
        with suppress(InvalidCursor):  # any other error fails the test
            decode(text)
