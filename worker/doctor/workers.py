"""The workers: which of them live, and what they take to be down. Redis knows, if anybody does."""

from collections.abc import Sequence
from contextlib import aclosing

from redis.exceptions import RedisError

from common import jobs
from common.errors import ConfigurationError
from common.settings import RedisSettings
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, not_checked, ok, warning
from worker.doctor.settings import Limits
from worker.heartbeat import WorkerState, find_workers

ALIVE = "alive"


def examination(settings: RedisSettings, limits: Limits) -> Examination:
    """Return what there is to check."""
    return Examination("workers", "as they tell in Redis", (ALIVE,), lambda: _examine(settings, limits), "REDIS__URL")


async def _examine(settings: RedisSettings, limits: Limits) -> Findings:
    try:
        # Its silence is told as the state of Redis, so it must not outlast the deadline here.
        async with aclosing(jobs.create_redis(settings, socket_timeout_s=limits.timeout_s / 2, retries=0)) as redis:
            yield judge_workers(await find_workers(redis))
    except (RedisError, OSError, ConfigurationError):
        yield not_checked(ALIVE, "Redis, which knows, does not say")


def judge_workers(workers: Sequence[WorkerState]) -> Finding:
    """Say whether somebody works, and whether they find all they need."""
    if not workers:
        return failed(
            ALIVE,
            "none has told of itself within 16 s: no image is processed",
            "Start one: `python -m worker.main`, with these settings. If one runs, see its log, and whether its "
            "REDIS__URL is this one.",
        )
    waiting = [f"{worker.name} waits for {' and '.join(worker.open)}" for worker in workers if worker.open]
    seen = "; ".join([f"{len(workers)} alive", *waiting])
    if waiting:
        return warning(ALIVE, seen, "See to what they wait for; they go on by themselves within seconds.")
    return ok(ALIVE, seen)
