"""One image from claim to `done`: the stages in order, and what happens when one fails."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from common import correlation, tracing
from common.budget import Budget
from common.db.attempts import Failure, Release
from common.error_metrics import count_error, labels_of
from common.errors import InfrastructureError, LikenessError, OwnershipLost
from worker.gate import Gate
from worker.leases import Leases
from worker.metrics import IN_FLIGHT, OUTCOMES, RETRIES, STAGE_SECONDS
from worker.moves import Moves
from worker.retry import GiveUp, decide_retry, must_run_alone
from worker.work import Stage, Work

log = structlog.get_logger(__name__)

_AT_ONCE = timedelta(0)


class Pipeline:
    """Processes images, a bounded number at once; each is on its own, whatever becomes of its neighbours.

    An image whose workers keep dying runs with no neighbours at all: it takes every slot, in its turn. While it waits
    for them it is not claimed, so the death of another image's worker never counts against it.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        moves: Moves,
        leases: Leases,
        *,
        images_in_flight: int,
        gate: Gate | None = None,
        on_done: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        self._stages = stages
        self._on_done = on_done
        self._gate = gate
        self._moves = moves
        self._leases = leases
        self._slots = Budget(images_in_flight)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False

    async def process_all(self, ids: Iterable[UUID]) -> None:
        """Process those of the images that are due; return when each is settled, put back, or someone else's."""
        tasks = [self._start(id_) for id_ in set(ids)]
        if tasks:
            await asyncio.wait(tasks)

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more, let what is in flight finish for `grace_s` seconds, and release what is left."""
        self._stopping = True
        if self._gate:
            self._gate.let_all_pass()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _start(self, image_id: UUID) -> asyncio.Task[None]:
        """Start an image unless it is on its way here already; its task outlives the job that brought the hint."""
        if image_id in self._tasks:
            return self._tasks[image_id]
        task = asyncio.create_task(self._follow(image_id), name=f"image {image_id}")
        self._tasks[image_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(image_id, None))
        return task

    async def _follow(self, image_id: UUID) -> None:
        """Process an image under its hint's correlation id; one that the sweep brought gets its own."""
        with correlation.bound(None), tracing.span("image", attributes={tracing.IMAGE_ID: str(image_id)}):
            await self._process(image_id)

    async def _process(self, image_id: UUID) -> None:
        async with self._turn(image_id, 1):
            work = await self._claim(image_id)
            if work is None:
                return
            if not must_run_alone(work.claim.tries_left):
                await self._own(work)
                return
            with _named(work):
                log.warning("image_must_run_alone", tries_left=work.claim.tries_left)
                await asyncio.shield(self._give_back(work, _AT_ONCE, refund=True, code="must_run_alone"))
        async with self._turn(image_id, self._slots.total):
            work = await self._claim(image_id)
            if work is not None:
                await self._own(work)

    def _turn(self, image_id: UUID, slots: int) -> AbstractAsyncContextManager[None]:
        """Hold slots while inside; before that wait for them, and until what the image needs is up."""
        hold = partial(self._slots.hold, slots)
        return self._gate.turn(image_id, hold) if self._gate else hold()

    async def _own(self, work: Work) -> None:
        """Do one attempt, its lease renewed from here on."""
        with (
            _named(work),
            IN_FLIGHT.track_inprogress(),
            self._leases.hold(work.claim.fence),
            closing(work),
        ):
            await self._attempt(work)

    async def _claim(self, image_id: UUID) -> Work | None:
        """Claim an image; None if it is not due, or the worker is stopping, or the database is away."""
        if self._stopping:
            return None
        try:
            return await self._claim_or_give_back(image_id)
        except InfrastructureError as error:  # the row is as it was: the sweep brings it again
            log.warning("claim_failed", image_id=str(image_id), error=str(error))
            return None

    async def _claim_or_give_back(self, image_id: UUID) -> Work | None:
        """Claim; a claim that was under way when this was cancelled is given back, or nobody would have the image."""
        claiming = asyncio.ensure_future(self._moves.claim(image_id))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            work = await claiming
            if work is not None:
                await self._give_back(work, _AT_ONCE, refund=True, code="worker_stopped")
            raise

    async def _attempt(self, work: Work) -> None:
        try:
            for stage in self._stages:
                if not self._leases.holds(work.claim.fence):
                    raise OwnershipLost(f"the lease of attempt {work.claim.attempt} was lost before {stage.name}")
                with STAGE_SECONDS.labels(stage.name).time(), tracing.span(f"stage {stage.name}"):
                    await stage.run(work)
            done = await self._moves.finish(work.claim, work.indexed)
        except OwnershipLost:
            self._end("ownership_lost")
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(work, _AT_ONCE, refund=True, code="worker_stopped"))
            raise
        except Exception as error:  # noqa: BLE001 - `decide_retry` says what each means
            await asyncio.shield(self._settle(work, error))
        else:
            self._end("done" if done else "postponed")
            if done:
                self._on_done(work.claim.id)

    async def _settle(self, work: Work, error: Exception) -> None:
        """Write down what an attempt's failure means for its image."""
        claim = work.claim
        code = error.code if isinstance(error, LikenessError) else LikenessError.default_code
        verdict = decide_retry(
            error,
            attempt=claim.attempt,
            tries_left=claim.tries_left,
            jitter=random.random(),  # noqa: S311
        )
        count_error("worker", error)
        if isinstance(verdict, GiveUp):
            log.info("image_failed", code=verdict.code, message=verdict.message, exc_info=_if_defect(error, code))
            await self._write(self._moves.fail(Failure(claim.fence, verdict.code, verdict.message)), "failed")
            return
        RETRIES.labels(*labels_of(error)).inc()
        log.warning("image_postponed", code=code, error=str(error), exc_info=_if_defect(error, code))
        await self._give_back(work, verdict.delay, refund=verdict.refund, code=code)

    async def _give_back(self, work: Work, delay: timedelta, *, refund: bool, code: str) -> None:
        await self._write(self._moves.release(Release(work.claim.fence, delay, refund, code)), "postponed")

    async def _write(self, move: Awaitable[None], outcome: str) -> None:
        """Write an attempt's end; if that fails, the lease runs out and the sweep has the image tried again."""
        try:
            await move
        except OwnershipLost:
            outcome = "ownership_lost"
        except InfrastructureError as error:
            log.warning("end_not_written", outcome=outcome, error=str(error))
            outcome = "unwritten"
        self._end(outcome)

    def _end(self, outcome: str) -> None:
        OUTCOMES.labels(outcome).inc()
        # The others have moved the image, which has a line already.
        log.log(logging.INFO if outcome == "ownership_lost" else logging.DEBUG, "attempt_ended", outcome=outcome)


def _named(work: Work) -> AbstractContextManager[object]:
    """Have all that is logged inside name the image and the attempt."""
    return structlog.contextvars.bound_contextvars(image_id=str(work.claim.id), attempt=work.claim.attempt)


def _if_defect(error: Exception, code: str) -> Exception | None:
    """Log a traceback for defects of ours alone; outages and bad images are explained by their message."""
    return error if code == LikenessError.default_code or not isinstance(error, LikenessError) else None
