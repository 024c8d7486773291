"""Whether an image's events are a legal walk through the states of `common/status.py`; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.status import LEASED, SETTLED, ImageStatus, can_claim, can_move


@dataclass(frozen=True, slots=True)
class Event:
    """One row of `image_events`."""

    before: ImageStatus | None
    after: ImageStatus
    attempt: int
    code: str | None = None
    """Why an attempt failed."""

    def __str__(self) -> str:
        why = f" ({self.code})" if self.code else ""
        return f"{self.before} → {self.after} by attempt {self.attempt}{why}"


@dataclass(frozen=True, slots=True)
class Walk:
    """What a history tells."""

    problems: list[str]
    reclaims: int
    """Claims from a lease that had run out."""
    requeues: int
    """Fresh starts with all tries, from `error` or `done`."""
    finishes: int
    """Moves to `done` that nothing undid."""


def read(events: Sequence[Event]) -> Walk:
    """Follow the events of one image, oldest first."""
    problems = []
    reclaims = requeues = finishes = 0
    status: ImageStatus | None = None
    attempt = 0
    for event in events:
        if event.before is not status:
            problems.append(f"{event} while it was {status}")
        elif problem := _problem(event, attempt):
            problems.append(problem)
        reclaims += event.before in LEASED and event.after is ImageStatus.EMBEDDING
        requeues += event.before in SETTLED
        finishes += (event.after is ImageStatus.DONE) - (event.before is ImageStatus.DONE)
        status, attempt = event.after, event.attempt
    return Walk(problems, reclaims, requeues, finishes)


def _problem(event: Event, attempt: int) -> str | None:
    before, after = event.before, event.after
    if before is None:
        legal, expected = after is ImageStatus.CREATED, 0
    elif after is ImageStatus.EMBEDDING:
        legal, expected = can_claim(before), attempt + 1
    else:
        legal, expected = can_move(before, after), attempt
    if not legal:
        return f"{event} is no legal move"
    return None if event.attempt == expected else f"{event}, not {expected}"
