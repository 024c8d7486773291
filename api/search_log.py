"""Writes the search log, beside the requests: no search waits for it, or fails with it."""

import asyncio
from collections import deque
from contextlib import suppress
from contextvars import Context
from itertools import islice
from typing import Final

import structlog

from api.metrics import SEARCHES_LOGGED
from common.db import searches
from common.db.engine import Database
from common.db.searches import NewSearch
from common.errors import LikenessError

MOST_WAITING: Final = 2_000
"""Entries in memory; while there are as many, more are dropped."""
_BATCH = 500
_GATHER_S = 1.0
"""How long the first entry waits for others."""
_LAST_WORDS_S = 5.0
"""How long a stopping process waits for what is not written yet."""

log = structlog.get_logger(__name__)


class SearchLog:
    """Takes entries at once and writes them in batches; what can't be written is dropped, and counted."""

    def __init__(self, database: Database, *, gather_s: float = _GATHER_S) -> None:
        self._database = database
        self._gather_s = gather_s
        self._waiting: deque[NewSearch] = deque()
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def note(self, search: NewSearch) -> None:
        """Have a search written down, some time."""
        if len(self._waiting) >= MOST_WAITING:
            _count("dropped", 1)
            return
        self._waiting.append(search)
        if self._writing is None or self._writing.done():
            # In a context of its own, so that its log lines are not taken for those of the search.
            self._writing = asyncio.get_running_loop().create_task(self._write(), context=Context())

    async def close(self) -> None:
        """Write what is left, if that can be done soon."""
        self._closing.set()
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=_LAST_WORDS_S)
            self._writing.cancel()
            await asyncio.wait({self._writing})
        _count("lost", len(self._waiting))

    async def _write(self) -> None:
        while self._waiting:
            if len(self._waiting) < _BATCH:  # a transaction for each search would slow the next ones
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), self._gather_s)
            batch = list(islice(self._waiting, _BATCH))
            outcome = await self._save(batch)
            for _ in batch:
                self._waiting.popleft()
            _count(outcome, len(batch))

    async def _save(self, batch: list[NewSearch]) -> str:
        try:
            async with self._database.begin() as session:
                await searches.add(session, batch)
        except LikenessError as error:
            log.warning("searches_not_logged", searches=len(batch), code=error.code, error=str(error))
        except Exception:
            log.exception("search_log_defect", searches=len(batch))  # it goes on: the next ones may be fine
        else:
            return "written"
        return "lost"


def _count(outcome: str, number: int) -> None:
    SEARCHES_LOGGED.labels(outcome).inc(number)
