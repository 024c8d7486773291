"""The loop that does operations: long work that is a row of `operations`, asked for by a command or by a worker.

A worker does one at a time, beside its images. Its lease is renewed while it runs. What a dead worker leaves is begun
afresh by another one: what was mended stays mended, and a report is always of one whole pass.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import operations
from common.db.attempts import LEASE
from common.db.engine import Database
from common.db.operations import NewOperation, OperationClaim
from common.error_metrics import count_error, labels_of
from common.errors import ConfigurationError, Conflict, InfrastructureError, InvalidInput, NotFound, OwnershipLost
from common.metrics import begin_at_zero
from worker.metrics import OPERATION_OUTCOMES, OPERATIONS, RETRIES
from worker.retry import GiveUp, Retry, decide_retry

log = structlog.get_logger(__name__)

_POLL_S = 2.0
_REPORT_EVERY_S = 0.5
_AT_ONCE = timedelta(0)

_HOPELESS = ConfigurationError | Conflict | InvalidInput | NotFound
"""What was asked for can't be done, however often it is tried."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an operation, and what is to follow it."""

    result: dict[str, Any]
    follow_up: NewOperation | None = None


class Progress:
    """Writes down how far an operation is, at most twice a second."""

    def __init__(self, database: Database, claim: OperationClaim) -> None:
        self._database = database
        self._claim = claim
        self._next = 0.0

    async def advance(self, done: int, total: int) -> None:
        """Report `done` steps of about `total`; raises `OwnershipLost` when another worker has taken over."""
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return
        self._next = now + _REPORT_EVERY_S
        async with self._database.begin() as session:
            owned = await operations.report(session, self._claim, done=done, total=max(done, total))
        if not owned:
            raise _lost(self._claim)


class Handler(Protocol):
    """Does operations of one kind. It may be cancelled at any moment, and begun afresh by another worker."""

    kind: str

    async def run(self, claim: OperationClaim, progress: Progress) -> Outcome:
        """Do it; raises a `common.errors` class when it fails, see `worker.retry`."""


class Operations:
    """Does what is due, one operation at a time."""

    def __init__(self, database: Database, worker: str, handlers: Sequence[Handler], lease: timedelta = LEASE) -> None:
        self._database = database
        self._worker = worker
        self._lease = lease
        self._renew_every_s = lease.total_seconds() / 3
        self._handlers = {handler.kind: handler for handler in handlers}
        begin_at_zero(OPERATIONS, self._handlers, OPERATION_OUTCOMES)

    async def run(self) -> None:
        """Do what is due until cancelled; then what runs is put back for another worker."""
        while True:
            try:
                busy = await self.run_next()
            except InfrastructureError as error:  # of the database: the rows are as they were
                log.warning("operations_unreachable", code=error.code, error=str(error))
                busy = False
            if not busy:
                await asyncio.sleep(_POLL_S)

    async def run_next(self) -> bool:
        """Do what has been due for longest; False: nothing is."""
        async with self._database.begin() as session:
            buried = await operations.bury(session)
            claim = await operations.claim(session, list(self._handlers), self._worker, self._lease)
        for kind in buried:
            OPERATIONS.labels(kind, "failed").inc()
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(operation_id=str(claim.id), kind=claim.kind):
            await self._attempt(claim)
        return True

    async def _attempt(self, claim: OperationClaim) -> None:
        try:
            outcome = await self._run_leased(claim)
            await self._finish(claim, outcome)
        except OwnershipLost:
            log.warning("operation_lost")
            _count(claim, "ownership_lost")
        except asyncio.CancelledError:
            await asyncio.shield(self._put_back(claim, _AT_ONCE, refund=True, reason="the worker was stopped"))
            raise
        except Exception as error:  # noqa: BLE001 - `decide_retry` says what each means
            await self._settle(claim, error)
        else:
            _count(claim, "done")

    async def _run_leased(self, claim: OperationClaim) -> Outcome:
        """Run the handler while the lease is renewed; losing it ends the handler."""
        work = asyncio.create_task(self._handlers[claim.kind].run(claim, Progress(self._database, claim)))
        lease = asyncio.create_task(self._keep_lease(claim))
        try:
            await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await lease  # raises
            return await work
        finally:
            for task in (work, lease):
                task.cancel()
            await asyncio.gather(work, lease, return_exceptions=True)

    async def _keep_lease(self, claim: OperationClaim) -> None:
        owned = True
        while owned:
            await asyncio.sleep(self._renew_every_s)
            try:
                async with self._database.begin() as session:
                    owned = await operations.renew(session, claim, self._lease)
            except InfrastructureError as error:
                log.warning("operation_lease_not_renewed", error=str(error))
        raise _lost(claim)

    async def _finish(self, claim: OperationClaim, outcome: Outcome) -> None:
        async with self._database.begin() as session:
            if not await operations.finish(session, claim, outcome.result):
                raise _lost(claim)
            if outcome.follow_up is not None:
                await operations.start_unless_queued(session, outcome.follow_up)

    async def _settle(self, claim: OperationClaim, error: Exception) -> None:
        verdict = _decide(claim, error)
        expected = isinstance(error, InfrastructureError | _HOPELESS)
        log.warning("operation_failed", error=str(error), final=isinstance(verdict, GiveUp), exc_info=not expected)
        count_error("worker", error)
        if isinstance(verdict, GiveUp):
            await self._write(claim, "failed", lambda session: operations.fail(session, claim, verdict.message))
            return
        RETRIES.labels(*labels_of(error)).inc()
        await self._put_back(claim, verdict.delay, refund=verdict.refund, reason=str(error))

    async def _put_back(self, claim: OperationClaim, delay: timedelta, *, refund: bool, reason: str) -> None:
        def release(session: AsyncSession) -> Awaitable[bool]:
            return operations.release(session, claim, delay, refund=refund, error=reason)

        await self._write(claim, "postponed", release)

    async def _write(
        self, claim: OperationClaim, outcome: str, write: Callable[[AsyncSession], Awaitable[bool]]
    ) -> None:
        """Write an attempt's end; if that fails, its lease runs out, and it is claimed again or buried."""
        try:
            async with self._database.begin() as session:
                owned = await write(session)
        except InfrastructureError as error:
            log.warning("end_not_written", outcome=outcome, error=str(error))
            owned, outcome = True, "unwritten"
        _count(claim, outcome if owned else "ownership_lost")


def _count(claim: OperationClaim, outcome: str) -> None:
    OPERATIONS.labels(claim.kind, outcome).inc()


def _decide(claim: OperationClaim, error: Exception) -> Retry | GiveUp:
    if isinstance(error, _HOPELESS):
        return GiveUp(error.code, str(error))
    return decide_retry(
        error,
        attempt=claim.attempt,
        tries_left=claim.tries_left,
        jitter=random.random(),  # noqa: S311
    )


def _lost(claim: OperationClaim) -> OwnershipLost:
    return OwnershipLost(f"operation {claim.id}, attempt {claim.attempt}")
