"""The worker service: Arq's loop for hints, the sweep, lease renewal, and an orderly stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

import structlog
from arq.worker import Worker, func
from redis.exceptions import RedisError

from common import jobs
from common.errors import LikenessError
from common.log import configure_logging
from common.settings import RedisSettings
from worker.context import WorkerContext, open_worker, worker_name
from worker.health import serve_health
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
        BaseExceptionGroup: one of the loops died of a defect; the process should end, and be started again.
    """
    try:
        async with asyncio.TaskGroup() as loops:
            leases = loops.create_task(context.leases.run())
            intake = [
                loops.create_task(context.sweeper.run()),
                loops.create_task(_take_hints(context, settings.redis)),
            ]
            await stop.wait()
            await _end(intake)
            await context.pipeline.stop(settings.worker.stop_grace_s)
            leases.cancel()
    except BaseException:
        # A loop that died must not leave images behind whose means are about to be closed.
        await context.pipeline.stop(0)
        raise


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
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
        except (RedisError, OSError) as error:
            log.warning("hints_unavailable", error=str(error) or type(error).__name__, retry_in_s=_REDIS_PAUSE_S)
            await asyncio.sleep(_REDIS_PAUSE_S)


@asynccontextmanager
async def _arq_worker(context: WorkerContext, redis: RedisSettings) -> AsyncIterator[Worker]:
    pool = jobs.create_redis(redis, socket_timeout_s=5, retries=10)
    worker = Worker(
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
        closing = asyncio.ensure_future(worker.close())
        # Waiting raises nothing of what happens inside: Arq hands on the cancellation of the first of the jobs it
        # cancels, and leaves the others at their last words to Redis.
        await asyncio.wait([closing, *worker.tasks.values()])
        await pool.aclose()
        error = None if closing.cancelled() else closing.exception()
        if error is not None and not isinstance(error, RedisError | OSError):  # a Redis that is away gets no good-bye
            raise error


async def _main(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_worker(settings) as context, serve_health(context, settings.worker):
        log.info("worker_ready", worker=worker_name())
        await run_worker(context, settings, stop)


def main() -> None:
    """Work until told to stop."""
    settings = WorkerSettings()
    configure_logging(settings.log)
    try:
        asyncio.run(_main(settings))
    except LikenessError as error:
        log.error("worker_cannot_start", code=error.code, error=str(error))  # noqa: TRY400 - the message says it all
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
