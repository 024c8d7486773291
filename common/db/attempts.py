"""An attempt on an image, from its claim to its end, as `common.db.lifecycle` takes and answers it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from common.status import ImageStatus, Visibility
from common.transitions import Move

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed; a dead worker's images are reclaimed after this."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of ownership: the image and the attempt that claimed it."""

    id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """An image that this worker owns for one attempt, with what the pipeline needs of its row."""

    id: UUID
    attempt: int
    tries_left: int
    owner_id: UUID
    folder_id: UUID
    sha256: str
    object_key: str
    media_type: str
    byte_size: int
    category: str | None
    tags: list[str]
    attributes: dict[str, Any]
    created_at: datetime
    payload_version: int
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    visibility: str = Visibility.VISIBLE
    waited_s: float | None = None
    """For how long it had been due, if it was `pending`."""
    from_status: str = ImageStatus.PENDING
    """What it was claimed from."""
    waited_ms: float = 0.0
    """How long it was that; of an image that is put back, since then."""

    @property
    def move(self) -> Move:
        """The change of state that the claim was."""
        return Move(self.id, self.from_status, ImageStatus.EMBEDDING, self.attempt, ms=self.waited_ms)

    @property
    def fence(self) -> Fence:
        """What every later write of this attempt carries."""
        return Fence(self.id, self.attempt)


@dataclass(frozen=True, slots=True)
class Failure:
    """An image to be given up, and why."""

    fence: Fence
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """An image to be put back, to run again after `delay`; `refund` gives the try back (not the image's fault)."""

    fence: Fence
    delay: timedelta
    refund: bool
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """An image whose point is in the collections of these models, filtered by the payload of that version."""

    fence: Fence
    payload_version: int
    model_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a `Finish`.

    Attributes:
        done: whether the image is `done`; else it is `pending` again, its try given back, as the model that is active
            by now is not among those whose collections it is in.
        lacking: the building models among whose points it is not.
        move: for the log.
        first_done_s: how long after its row was made it was `done` for the first time; None: it was before, or is not.
    """

    done: bool
    lacking: tuple[int, ...]
    move: Move
    first_done_s: float | None = field(default=None, compare=False)
