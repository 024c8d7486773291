"""The states of an image and the moves between them, and the states of an operation; pure, no imports of ours.

    created ──▶ pending ──▶ embedding ──▶ indexing ──▶ done
       │          ▲             │             │
       │          └── backoff ──┴─────────────┤        error ──requeue──▶ pending
       └── (a download is given up) ──────────┴──────▶ error ──requeue──▶ created (it has no bytes yet)
                                                       done ──redo (audit, operator)──▶ pending

The SQL in `common.db.lifecycle`, and for downloads in `common.db.imports`, performs exactly these moves;
`tests/unit/common/test_status.py` and the integration tests hold the two against each other.
"""

from enum import StrEnum


class Visibility(StrEnum):
    """Whether searches show an image."""

    VISIBLE = "visible"
    HIDDEN = "hidden"
    """Shown by a search only if its owner asks for hidden ones; everything else is as ever."""


class ImageStatus(StrEnum):
    """Where an image is on its way to being searchable."""

    CREATED = "created"
    """The row exists; its object may not be stored yet. An import waits here to be downloaded, since `next_run_at`."""
    PENDING = "pending"
    """The object is stored; waiting for a worker since `next_run_at`."""
    EMBEDDING = "embedding"
    """Claimed by a worker under a lease: fetch, decode, embed."""
    INDEXING = "indexing"
    """The vector is computed and saved in PostgreSQL; being written to the vector index."""
    DONE = "done"
    """Searchable."""
    ERROR = "error"
    """Given up, with an error code; an operator or the owner may requeue it."""


TRANSITIONS: dict[ImageStatus, frozenset[ImageStatus]] = {
    ImageStatus.CREATED: frozenset({ImageStatus.PENDING, ImageStatus.CREATED, ImageStatus.ERROR}),
    ImageStatus.PENDING: frozenset({ImageStatus.EMBEDDING}),
    ImageStatus.EMBEDDING: frozenset({ImageStatus.INDEXING, ImageStatus.PENDING, ImageStatus.ERROR}),
    ImageStatus.INDEXING: frozenset({ImageStatus.DONE, ImageStatus.PENDING, ImageStatus.ERROR}),
    ImageStatus.DONE: frozenset({ImageStatus.PENDING}),
    ImageStatus.ERROR: frozenset({ImageStatus.PENDING, ImageStatus.CREATED}),
}
"""Allowed moves. A reclaim (`embedding`/`indexing` → `embedding` after a lease ran out) starts a new attempt and
is a claim, not a move within one attempt. `done` is left only when an audit finds that something is missing which the
pipeline makes, or when an operator has its stages run once more. Of the moves from `created`, an upload makes only the
one to `pending`; the others are those of a download that is put back or given up, and `error` → `created` has it tried
again."""

LEASED = frozenset({ImageStatus.EMBEDDING, ImageStatus.INDEXING})
"""States in which a worker holds (or held) a lease."""

SETTLED = frozenset({ImageStatus.DONE, ImageStatus.ERROR})
"""States that nothing leaves by itself."""


class OperationStatus(StrEnum):
    """Where an operation is."""

    QUEUED = "queued"
    """Waiting for a worker since `next_run_at`."""
    RUNNING = "running"
    """Claimed by a worker under a lease; another one begins afresh when the lease runs out."""
    DONE = "done"
    """It has a result."""
    FAILED = "failed"
    """Given up, with an error."""
    PAUSED = "paused"
    """Put aside until somebody resumes it."""


def can_move(current: ImageStatus, target: ImageStatus) -> bool:
    """Tell whether one attempt may take an image from `current` to `target`."""
    return target in TRANSITIONS[current]


def can_claim(current: ImageStatus) -> bool:
    """Tell whether a worker may claim an image in this state (a leased one only once its lease has run out)."""
    return current is ImageStatus.PENDING or current in LEASED
