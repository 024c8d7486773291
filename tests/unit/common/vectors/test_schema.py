"""Payloads as stored: what was written is read again, and nothing else is taken for one."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from common.vectors.base import Payload
from common.vectors.schema import from_fields, to_fields

PAYLOAD = Payload(
    UUID(int=1),
    UUID(int=2),
    "shoes",
    ("red", "new"),
    datetime(2026, 1, 1, 12, 30, 0, 17, tzinfo=UTC),
    labels=("a shoe",),
    hidden=True,
)


@pytest.mark.parametrize(
    "payload",
    [PAYLOAD, Payload(UUID(int=1), UUID(int=2), None, (), datetime(2026, 1, 1, tzinfo=UTC))],
    ids=["everything", "the least"],
)
def test_what_was_stored_is_read_again(payload: Payload) -> None:
    assert from_fields(to_fields(payload)) == payload


@pytest.mark.parametrize(
    "change",
    [
        {"owner_id": "nobody"},
        {"tags": 7},
        {"tags": "red"},
        {"created_at": None},
        {"folder_id": 3},
        {"colour": "red"},
        {"labels": "a"},
        {"hidden_of": str(UUID(int=7))},
        {"owner_id": str(UUID(int=1))},
    ],
    ids=lambda change: next(iter(change.items())).__repr__(),
)
def test_what_we_never_stored_is_no_payload(change: dict[str, Any]) -> None:
    assert from_fields(to_fields(PAYLOAD) | change) is None


def test_nothing_is_no_payload() -> None:
    assert from_fields(None) is None
    assert from_fields({}) is None
