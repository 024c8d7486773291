"""Changes of an image's state, and the one log line that each has in api and worker."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)

DELETED: Final = "deleted"
"""What becomes of an image that is no more; in log and metrics alone."""


@dataclass(frozen=True, slots=True)
class Move:
    """An image's way from one state to another. None: not known, or there is none."""

    id: UUID
    before: str | None
    after: str
    attempt: int | None = None
    code: str | None = None
    """Why it is in `error`, or back in `pending`."""
    ms: float | None = None
    """Milliseconds since the row was last written: how long the image was in `before`, unless it was edited."""

    def log(self) -> None:
        """Write the line; the transaction that moved the image has been committed."""
        fields = {
            "image_id": str(self.id),
            "from": self.before,
            "to": self.after,
            "attempt": self.attempt,
            "code": self.code,
            "ms": None if self.ms is None else round(self.ms, 1),
        }
        log.info("image_moved", **{name: value for name, value in fields.items() if value is not None})


def log_moves(moves: Iterable[Move]) -> None:
    """Write a line for each."""
    for move in moves:
        move.log()
