"""Equal work that is asked for at the same time is done once, and everybody gets what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(slots=True)
class _Flight(Generic[Result]):
    task: asyncio.Task[Result]
    waiting: int = 0


class SingleFlight(Generic[Key, Result]):
    """The work under way, by key. It goes on while anybody waits for it, whoever began it, and ends with the last."""

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight[Result]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: Key, work: Callable[[], Awaitable[Result]]) -> Result:
        """Return what comes of the work under way for this key, or begin it; what it raises, everybody gets."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(_run(work)))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()  # without effect if it is done
                if self._flights.get(key) is flight:
                    del self._flights[key]


async def _run(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()
