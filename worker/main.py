"""The worker service: Arq's loop for hints, the sweep, operations, downloads, lease renewal, and an orderly stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from arq.worker import Worker, func

from common import jobs, tracing
from common.arguments import take_none
from common.errors import LikenessError
from common.log import configure_logging
from common.settings import RedisSettings
from common.starting import check_settings, ending_plainly, settle_memory
from worker.context import WorkerContext, open_worker, worker_name
from worker.extensions import extension_settings
from worker.health import serve_health
from worker.heartbeat import beat
from worker.settings import WorkerSettings
from worker.tasks import PIPELINE, process_images

log = structlog.get_logger(__name__)

_MAX_JOBS: Final = 64
_POLL_S: Final = 0.2
_JOB_TIMEOUT_S: Final = 3600
_HEALTH_INTERVAL_S: Final = 30
_REDIS_PAUSE_S: Final = 5.0
_CANCEL_AGAIN_S: Final = 2.0


async def run_worker(context: WorkerContext, settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then finish or release what is claimed.

    Raises:
        ConfigurationError: the address of Redis is none.
        BaseExceptionGroup: one of the loops died of a defect; the process should end, and be started again.
    """
    redis = jobs.create_redis(settings.redis)
    try:
        async with asyncio.TaskGroup() as loops:
            leases = loops.create_task(context.leases.run())
            intake = [
                loops.create_task(context.sweeper.run()),
                *(loops.create_task(operations.run()) for operations in context.operations),
                loops.create_task(context.audit_schedule.run()),
                loops.create_task(context.downloads.run()),
                loops.create_task(context.duplicates.run()),
                loops.create_task(context.census.run()),
                loops.create_task(_take_hints(context, settings.redis)),
                loops.create_task(beat(redis, worker_name(), context.breakers)),
            ]
            await stop.wait()
            await _end(intake)
            await context.pipeline.stop(settings.worker.stop_grace_s)
            leases.cancel()
    except BaseException:
        # A loop that died must not leave images behind whose means are about to be closed.
        await context.pipeline.stop(0)
        raise


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end; libraries can swallow a cancellation, so it is repeated."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


async def _take_hints(context: WorkerContext, redis: RedisSettings) -> None:
    """Run Arq's worker; when Redis is away for longer than it bears, run another one."""
    while True:
        try:
            async with _arq_worker(context, redis) as worker:
                await worker.async_run()
        except jobs.REDIS_FAILED as error:
            log.warning("hints_unavailable", error=str(error) or type(error).__name__, retry_in_s=_REDIS_PAUSE_S)
            await asyncio.sleep(_REDIS_PAUSE_S)


class _HintWorker(Worker):
    """Arq's worker. When a job is cancelled in its last words to Redis, Arq leaves them running and forgets them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._last_words: set[asyncio.Task[Any]] = set()

    async def finish_job(self, *args: Any, **options: Any) -> None:
        """Say the last words on a job; Arq runs this in a task of its own."""
        await self._remember(super().finish_job(*args, **options))

    async def finish_failed_job(self, *args: Any, **options: Any) -> None:
        """Say the last words on a job that failed before it began; as `finish_job`."""
        await self._remember(super().finish_failed_job(*args, **options))

    async def _remember(self, last_words: Awaitable[None]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - code that awaits is run by a task
        self._last_words.add(task)
        try:
            await last_words
        finally:
            self._last_words.discard(task)

    async def end(self) -> None:
        """Cancel the jobs and wait until nothing uses the connections any more."""
        await _end(self.tasks.values())
        if self._last_words:
            await asyncio.wait(self._last_words)


@asynccontextmanager
async def _arq_worker(context: WorkerContext, redis: RedisSettings) -> AsyncIterator[Worker]:
    pool = jobs.create_redis(redis, socket_timeout_s=5, retries=10)
    worker = _HintWorker(
        functions=[func(process_images, name=jobs.PROCESS_IMAGES)],  # type: ignore[arg-type] # typed narrower than Arq's
        redis_pool=pool,
        queue_name=jobs.QUEUE,
        ctx={PIPELINE: context.pipeline},
        handle_signals=False,
        max_jobs=_MAX_JOBS,
        poll_delay=_POLL_S,
        job_timeout=_JOB_TIMEOUT_S,
        keep_result=0,
        max_tries=1,  # retrying is the rows' business
        health_check_interval=_HEALTH_INTERVAL_S,
        health_check_key=f"{jobs.QUEUE}:health:{worker_name()}",
        job_serializer=jobs.serialize,
        job_deserializer=jobs.deserialize,
    )
    try:
        yield worker
    finally:
        await worker.end()
        await pool.aclose()


async def _main(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_worker(settings) as context, serve_health(context, settings.worker):
        log.info("worker_ready", worker=worker_name())
        settle_memory()
        await run_worker(context, settings, stop)


def main() -> None:
    """Work until told to stop."""
    with ending_plainly():
        check_settings(WorkerSettings, *extension_settings())
        settings = WorkerSettings()
    configure_logging(settings.log)
    try:
        with tracing.started(settings.tracing, "likeness-worker"):
            asyncio.run(_main(settings))
    except LikenessError as error:
        log.error("worker_cannot_start", code=error.code, error=str(error))  # noqa: TRY400 - the message says it all
        raise SystemExit(1) from None


if __name__ == "__main__":
    take_none("worker.main", __doc__)
    main()
