"""Waiting for what starts at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from common.errors import InfrastructureError

Answer = TypeVar("Answer")

_PAUSE_S = 2.0


async def until_available(step: Callable[[], Awaitable[Answer]], wait_s: float, say: Callable[[str], None]) -> Answer:
    """Repeat a step until what it needs is there; `say` hears what it waits for, each reason once.

    Raises:
        InfrastructureError: it was not there within `wait_s`.
    """
    deadline = asyncio.get_running_loop().time() + wait_s
    said = ""
    while True:
        try:
            return await step()
        except InfrastructureError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            if str(error) != said:
                said = str(error)
                say(f"Waiting: {said}")
        await asyncio.sleep(_PAUSE_S)
