"""Pages of results in another order than by likeness alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np

from api.paging import MAX_SEARCH_DEPTH, Page, Query, Seen, Window, too_deep
from api.ranking import Candidate, order
from common.db import duplicates, embeddings, traits
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.vectors.base import Match


@dataclass(frozen=True, slots=True)
class Reordering:
    """Orders the images most like a query, as deep as searches go, by what `Window.ranking` asks for."""

    database: Database
    model: EmbeddingModel
    owner_id: UUID

    async def next_page(self, query: Query, window: Window) -> Page:
        """Return what comes after what was shown.

        What was indexed since the first page stays out, and ages count from then, so the order is the same on every
        page. Only what is deleted meanwhile can change the choice of a diverse order after it.

        Raises:
            InvalidInput: `search_too_deep`.
        """
        # Before the query: what is indexed by then is among its matches, and so is on the pages to come.
        as_of = await self._moment(window.seen)
        matches = await query(MAX_SEARCH_DEPTH)
        candidates = await self._candidates(matches, window, as_of)
        reach = window.limit + 1 + (window.seen.count if window.seen else 0)
        ordered = await asyncio.to_thread(order, candidates, window.ranking, as_of, reach)
        rest = ordered[_start(ordered, window.seen) :]
        if not rest and len(matches) == MAX_SEARCH_DEPTH:
            raise too_deep()
        page = [Match(each.id, each.score) for each in rest[: window.limit]]
        return Page(page, more=len(rest) > len(page) or len(matches) == MAX_SEARCH_DEPTH, as_of=as_of)

    async def _moment(self, seen: Seen | None) -> datetime:
        """Return the moment of the first page."""
        if seen is not None and seen.as_of is not None:
            return seen.as_of
        async with self.database.read() as session:
            return await traits.now(session)

    async def _candidates(self, matches: Sequence[Match], window: Window, as_of: datetime) -> list[Candidate]:
        async with self.database.read() as session:
            found = await traits.find(session, self.owner_id, [match.id for match in matches], as_of)
            hashes = {trait.sha256 for trait in found.values()} if window.ranking.diversity else ()
            vectors = await embeddings.find(session, self.model.id, list(hashes))
            groups = await duplicates.find_groups(session, list(found)) if window.ranking.one_per_group else {}
        unlike_any = np.zeros(self.model.dim, dtype=np.float32)
        return [
            Candidate(
                match.id, match.score, trait.created_at, vectors.get(trait.sha256, unlike_any), groups.get(match.id)
            )
            for match in matches
            if (trait := found.get(match.id))
        ]


def _start(ordered: Sequence[Candidate], seen: Seen | None) -> int:
    """Return the position after the last that was shown; should that be gone, it is where that one was."""
    if seen is None:
        return 0
    positions = (position for position, each in enumerate(ordered) if each.id == seen.id)
    return next((position + 1 for position in positions), seen.count - 1)
