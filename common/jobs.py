"""Hints: Arq jobs that wake a worker. The rows are the truth; a lost, doubled or late hint changes nothing.

What belongs to a hint beside its images, the correlation id and the trace it comes from, stands in the job's envelope
and not among its arguments: workers of releases that know nothing of it don't look there, and would refuse an argument.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from prometheus_client import Counter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common import correlation, tracing
from common.errors import ConfigurationError, QueueUnavailable
from common.metrics import begin_at_zero
from common.settings import RedisSettings

QUEUE: Final = "likeness:jobs"
PROCESS_IMAGES: Final = "process_images"
IDS_PER_JOB: Final = 64

_CARRIED: Final = "carried"
"""In the envelope, and as the task's keyword argument."""
HINTED = Counter(
    "likeness_hinted", "Images that workers were woken for: sent, or lost (the sweep finds them).", ["outcome"]
)
begin_at_zero(HINTED, ["sent", "lost"])

REDIS_FAILED = (RedisError, OSError, RuntimeError)
"""What a call to Redis raises that failed; `RuntimeError` is uvloop's word for a connection closed a moment ago."""
_HINT_DEADLINE_S = 1.0
_MAX_CONNECTIONS = 50

log = structlog.get_logger(__name__)


def serialize(job: dict[str, Any]) -> bytes:
    """Encode a job as JSON: with pickle, whoever can write to Redis could run code here."""
    arguments = dict(job["k"])
    carried = arguments.pop(_CARRIED, None)
    return json.dumps({**job, "k": arguments, **({_CARRIED: carried} if carried else {})}).encode()


def deserialize(data: bytes) -> dict[str, Any]:
    """Decode a job; what its envelope carries becomes the argument that `serialize` took it from."""
    job: dict[str, Any] = json.loads(data)
    carried = job.pop(_CARRIED, None)
    return {**job, "k": {**job["k"], _CARRIED: carried}} if isinstance(carried, dict) else job


def create_redis(settings: RedisSettings, *, socket_timeout_s: float = 1.0, retries: int = 1) -> ArqRedis:
    """Create Arq's client on a pool with deadlines of its own (Arq's settings have no read timeout).

    Raises:
        ConfigurationError: the address is none.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            settings.url.get_secret_value(),
            max_connections=_MAX_CONNECTIONS,
            timeout=socket_timeout_s,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=1.0,
            retry=Retry(ExponentialBackoff(cap=2, base=0.1), retries),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
    except ValueError:
        # The cause is left out: it quotes what can't be read, which may be a part of the password.
        raise ConfigurationError(
            "REDIS__URL should read redis://:password@host:port/0, special characters in the password percent-encoded"
        ) from None
    redis = ArqRedis(
        connection_pool=pool,
        default_queue_name=QUEUE,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
    redis.auto_close_connection_pool = True
    return redis


async def hint(redis: ArqRedis, ids: Sequence[UUID]) -> None:
    """Wake workers for these images, or log that it did not work: the sweep finds them without."""
    try:
        with tracing.span("redis hint", "producer", {tracing.BATCH_SIZE: len(ids)}):
            carried = _carry()
            async with asyncio.timeout(_HINT_DEADLINE_S):
                for start in range(0, len(ids), IDS_PER_JOB):
                    some = [str(id_) for id_ in ids[start : start + IDS_PER_JOB]]
                    await redis.enqueue_job(PROCESS_IMAGES, some, carried=carried)
    except REDIS_FAILED as error:
        HINTED.labels("lost").inc(len(ids))
        log.warning("hint_lost", images=len(ids), error=str(error) or type(error).__name__)
    else:
        HINTED.labels("sent").inc(len(ids))


def _carry() -> dict[str, str]:
    request_id = correlation.current()
    return tracing.carrier() | ({correlation.FIELD: request_id} if request_id else {})


async def ping(redis: ArqRedis) -> None:
    """Make sure that Redis answers, or raise `QueueUnavailable`."""
    try:
        async with asyncio.timeout(_HINT_DEADLINE_S):
            await redis.ping()
    except REDIS_FAILED as error:
        raise QueueUnavailable(f"Redis: {str(error) or type(error).__name__}") from error
