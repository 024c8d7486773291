"""The state machine as the pipeline uses it: one image a call, coalesced into one statement for many."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncSession

from common.batcher import Batcher
from common.cache_metrics import CACHE_LOOKUPS
from common.db import embedding_models, embeddings, lifecycle, reembeds
from common.db.attempts import LEASE, Claim, Failure, Fence, Finish, Finished, Release
from common.db.engine import Database
from common.errors import OwnershipLost
from common.metrics import begin_at_zero
from common.transitions import Move
from worker.metrics import QUEUE_SECONDS, SEARCHABLE_SECONDS
from worker.work import Work

begin_at_zero(CACHE_LOOKUPS, ["image"], ["postgresql"], ["hit", "miss"])

_BATCH = 64
_WAIT_S = 0.005

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    fence: Fence
    sha256: str
    vectors: Mapping[int, NDArray[np.float32]]


class Moves:
    """Claims images for one worker and moves them on.

    Every move but `claim` raises `OwnershipLost` when another attempt has taken the image over. What was moved is told
    to the log here, by each image's own task: a statement is for many, with different correlation ids.
    """

    def __init__(self, database: Database, worker: str, lease: timedelta = LEASE) -> None:
        """Create the moves of one worker.

        Args:
            database: where the images and the models are.
            worker: this worker's name, in leases and events.
            lease: how long a claim holds without being renewed.
        """
        self._database = database
        self._worker = worker
        self._lease = lease
        self._claims: Batcher[UUID, Work | None] = Batcher(
            self._flush_claims, name="claim", max_size=_BATCH, max_wait=_WAIT_S
        )
        self._embedded = self._fenced("keep_vectors", self._save_and_advance, fence=lambda item: item.fence)
        self._finishes: Batcher[Finish, Finished] = Batcher(
            self._flush_finishes, name="finish", max_size=_BATCH, max_wait=_WAIT_S
        )
        self._failures = self._fenced("fail", lifecycle.fail, fence=lambda item: item.fence)
        self._releases = self._fenced("release", lifecycle.release, fence=lambda item: item.fence)

    async def claim(self, image_id: UUID) -> Work | None:
        """Claim an image if it is due, for the models that are live now; None if it is not, or someone else has it."""
        work = await self._claims.submit(image_id)
        if work is not None:
            work.claim.move.log()
        return work

    async def keep_vectors(self, claim: Claim, vectors: Mapping[int, NDArray[np.float32]]) -> None:
        """Save the vectors, by model id, and `embedding` → `indexing`, in one transaction."""
        (await self._embedded.submit(_Embedded(claim.fence, claim.sha256, vectors))).log()

    async def finish(self, claim: Claim, model_ids: Collection[int]) -> bool:
        """`indexing` → `done`, once the point is in the collections of these models; False: another one is active now.

        Then the image is `pending` again, and costs no try.
        """
        finished = await self._finishes.submit(Finish(claim.fence, claim.payload_version, tuple(model_ids)))
        finished.move.log()
        return finished.done

    async def fail(self, failure: Failure) -> None:
        """→ `error`. PostgreSQL keeps no NUL in a text, and would refuse those that fail at the same time as well."""
        written = replace(failure, message=failure.message.replace("\0", "\N{REPLACEMENT CHARACTER}"))
        (await self._failures.submit(written)).log()

    async def release(self, release: Release) -> None:
        """→ `pending`, to run later."""
        (await self._releases.submit(release)).log()

    async def renew(self, fences: Sequence[Fence]) -> set[UUID]:
        """Renew leases; return the images that are still owned."""
        async with self._database.begin() as session:
            return await lifecycle.renew(session, fences, self._lease)

    async def close(self) -> None:
        """Write what waits."""
        batchers = (self._claims, self._embedded, self._finishes, self._failures, self._releases)
        await asyncio.gather(*(batcher.close() for batcher in batchers))

    async def _flush_claims(self, ids: list[UUID]) -> list[Work | None]:
        async with self._database.begin() as session:
            models = await embedding_models.list_live(session)
            active = models[0].id if models else None
            claims = await lifecycle.claim(session, list(set(ids)), self._worker, self._lease, model_id=active)
            hashes = [claim.sha256 for claim in claims]
            known = {model.id: await embeddings.find(session, model.id, hashes) for model in models}
        for claim in claims:
            if claim.waited_s is not None:
                QUEUE_SECONDS.observe(claim.waited_s)
            known_before = active is not None and claim.sha256 in known[active]
            CACHE_LOOKUPS.labels("image", "postgresql", "hit" if known_before else "miss").inc()
        claimed = {claim.id: Work(claim, models, vectors=_of_hash(known, claim.sha256)) for claim in claims}
        # Of two submissions of one id, one gets the work.
        return [claimed.pop(id_, None) for id_ in ids]

    async def _flush_finishes(self, items: list[Finish]) -> list[Finished | Exception]:
        async with self._database.begin() as session:
            finished = await lifecycle.finish(session, items)
            await reembeds.catch_up(session, {id_ for end in finished.values() for id_ in end.lacking})
        for end in finished.values():
            if end.first_done_s is not None:
                SEARCHABLE_SECONDS.observe(end.first_done_s)
        return [finished.get(item.fence.id) or _lost(item.fence) for item in items]

    async def _save_and_advance(self, session: AsyncSession, items: Sequence[_Embedded]) -> Mapping[UUID, Move]:
        # Of owned images alone: the vector of a deleted one, whose thumbnail may be purged, must not come back.
        owned = await lifecycle.advance(session, [item.fence for item in items])
        kept = [item for item in items if item.fence.id in owned]
        for model_id in sorted({id_ for item in kept for id_ in item.vectors}):
            vectors = {item.sha256: item.vectors[model_id] for item in kept if model_id in item.vectors}
            await embeddings.save(session, model_id, vectors)
        return owned

    def _fenced(
        self,
        name: str,
        move: Callable[[AsyncSession, Sequence[Item]], Awaitable[Mapping[UUID, Move]]],
        fence: Callable[[Item], Fence],
    ) -> Batcher[Item, Move]:
        """Coalesce a fenced move, which answers the images it moved; for the others the ownership was lost."""

        async def flush(items: list[Item]) -> list[Move | Exception]:
            async with self._database.begin() as session:
                moved = await move(session, items)
            return [moved.get(held.id) or _lost(held) for held in map(fence, items)]

        return Batcher(flush, name=name, max_size=_BATCH, max_wait=_WAIT_S)


def _of_hash(known: Mapping[int, Mapping[str, NDArray[np.float32]]], sha256: str) -> dict[int, NDArray[np.float32]]:
    return {model_id: vectors[sha256] for model_id, vectors in known.items() if sha256 in vectors}


def _lost(fence: Fence) -> OwnershipLost:
    return OwnershipLost(f"image {fence.id}, attempt {fence.attempt}")
