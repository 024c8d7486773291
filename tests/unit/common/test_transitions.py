"""A change of state is one line."""

from uuid import UUID

import structlog

from common.transitions import DELETED, Move, log_moves

IMAGE = UUID(int=7)


def test_a_line_has_what_is_known() -> None:
    moves = [Move(IMAGE, "indexing", "error", 2, "broken", 12.345), Move(IMAGE, None, DELETED)]
    with structlog.testing.capture_logs() as logs:
        log_moves(moves)
    usual = {"event": "image_moved", "log_level": "info", "image_id": str(IMAGE)}
    assert logs == [
        usual | {"from": "indexing", "to": "error", "attempt": 2, "code": "broken", "ms": 12.3},
        usual | {"to": "deleted"},
    ]
