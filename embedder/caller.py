"""Who waits for an answer: how urgently, and until when."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from common.embedding import PRIORITY_HEADER, TIMEOUT_HEADER, Priority
from common.errors import InvalidInput
from embedder.bodies import read_number

_LONGEST_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request's headers say of who sent it."""

    priority: Priority = Priority.INTERACTIVE
    deadline: float | None = None
    """Loop time until which it will wait; None: it does not say."""


def read_caller(default: Priority) -> Callable[[Request], Awaitable[Caller]]:
    """Make a reader of the headers; `default` is the priority of those who don't say.

    It raises `InvalidInput` for a header that can't be understood.
    """

    async def read(request: Request) -> Caller:
        return Caller(_read_priority(request, default), _read_deadline(request))

    return read


def _read_priority(request: Request, default: Priority) -> Priority:
    try:
        return Priority(request.headers.get(PRIORITY_HEADER, default))
    except ValueError:
        raise InvalidInput(f"the header {PRIORITY_HEADER} must be one of {', '.join(Priority)}") from None


def _read_deadline(request: Request) -> float | None:
    if TIMEOUT_HEADER not in request.headers:
        return None
    return asyncio.get_running_loop().time() + read_number(request, TIMEOUT_HEADER, most=_LONGEST_MS) / 1000
