"""Counts state changes of images, once they are committed: what is rolled back has not happened."""

from collections import Counter
from collections.abc import Iterable

import prometheus_client
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from common import status
from common.metrics import begin_at_zero
from common.status import ImageStatus

TRANSITIONS = prometheus_client.Counter(
    "likeness_transitions",
    "State changes of images that were committed; a new one comes from `none`, one that is deleted goes to `deleted`.",
    ["from", "to"],
)
NEW = "none"
"""The state before the first."""
for _before, _afters in ((NEW, {ImageStatus.CREATED}), *status.TRANSITIONS.items()):
    begin_at_zero(TRANSITIONS, [_before], _afters)
_MOVES = "likeness.moves"

Move = tuple[str, str]
"""From which state to which."""


def note(session: AsyncSession, moves: Iterable[Move]) -> None:
    """Have moves counted when their transaction is committed."""
    session.info.setdefault(_MOVES, Counter()).update(moves)


@event.listens_for(Session, "after_commit")
def _count(session: Session) -> None:
    moves: Counter[Move] = session.info.pop(_MOVES, Counter())
    for labels, images in moves.items():
        TRANSITIONS.labels(*labels).inc(images)


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(_MOVES, None)
