"""One id for all that a request sets off, in every service: the field `request_id` of log lines.

It lives in structlog's context, so each line has it, and tasks inherit it. It comes in as `X-Request-ID`, travels to
the workers beside a job's arguments (`common.jobs`) and on to the embedder as the same header. What no request set off,
such as an image that a sweep found, gets an id of its own.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog

HEADER = "X-Request-ID"
FIELD = "request_id"
SEVERAL_FIELD = "request_ids"
"""The ids of those for whom a batch is done, where they differ; its `request_id` is the batch's own then."""

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def create() -> str:
    """Make an id."""
    return secrets.token_hex(16)


def accept(given: object) -> str | None:
    """Return an id that somebody sent, None if it is none that should be in a log."""
    return given if isinstance(given, str) and _ACCEPTABLE.fullmatch(given) else None


def current() -> str | None:
    """Return the id under which this runs."""
    return accept(structlog.contextvars.get_contextvars().get(FIELD))


def is_shared() -> bool:
    """Tell whether this is done for requests with different ids."""
    return SEVERAL_FIELD in structlog.contextvars.get_contextvars()


@contextmanager
def bound(request_id: str | None) -> Iterator[str]:
    """Run what is inside, which is of one task, under this id; None: under the one there is, or a new one."""
    request_id = request_id or current() or create()
    before = structlog.contextvars.bind_contextvars(**{FIELD: request_id})
    try:
        yield request_id
    finally:
        structlog.contextvars.reset_contextvars(**before)


def join(ids: Iterable[str | None]) -> None:
    """Have what this task does for callers with these ids run under theirs, if it is one, else under one of its own."""
    known = sorted({id_ for id_ in ids if id_ is not None})
    if len(known) > 1:
        structlog.contextvars.bind_contextvars(**{FIELD: create(), SEVERAL_FIELD: known})
    elif known:
        structlog.contextvars.bind_contextvars(**{FIELD: known[0]})
