"""The live models, which PostgreSQL alone knows, for those who hold the other dependencies against them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

from common.db.models import EmbeddingModel
from worker.doctor.findings import Finding, not_checked

FindModels = Callable[[], Awaitable[Sequence[EmbeddingModel] | None]]
"""Answers the live models, the active one first; None: PostgreSQL can't say, which is told as its own state."""

REFILL = "then `likeness audit --fix` fills it from PostgreSQL, without a model."
"""What comes after a lost collection has been made again."""


class LiveModels:
    """A `FindModels`: asks when the first one does, and once."""

    def __init__(self, find: FindModels, patience_s: float) -> None:
        """Take who asks PostgreSQL, and how long that may take: less than those have who wait for the answer."""
        self._find = find
        self._patience_s = patience_s
        self._asking: asyncio.Task[Sequence[EmbeddingModel] | None] | None = None

    async def __call__(self) -> Sequence[EmbeddingModel] | None:
        """See `FindModels`."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # whose patience ends does not end it for the others

    async def _ask(self) -> Sequence[EmbeddingModel] | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                return await self._find()
        return None


def without_models(check: str, live: Sequence[EmbeddingModel] | None) -> Iterator[Finding]:
    """Say why there is nothing to check, if there is not."""
    if live is None:
        yield not_checked(check, "PostgreSQL, which knows the models, does not say")
    elif not live:
        yield not_checked(check, "there is no model yet; the first worker that starts names it")
