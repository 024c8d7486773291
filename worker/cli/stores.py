"""PostgreSQL, which the commands need, and Redis, which they use when it is there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from arq.connections import ArqRedis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from common import jobs
from common.db.engine import Database
from common.db.revision import check_revision
from common.errors import DatabaseUnavailable, QueueUnavailable
from common.settings import DatabaseSettings, RedisSettings
from worker.heartbeat import WorkerState, find_workers


@asynccontextmanager
async def open_database(settings: DatabaseSettings, *, any_revision: bool = False) -> AsyncIterator[Database]:
    """Connect to PostgreSQL, at this code's revision unless told otherwise.

    Raises:
        ConfigurationError: the address is none, or the database is at another revision.
        DatabaseUnavailable: it can't be reached, or turns us away.
    """
    database = Database(settings)
    try:
        await _check(database, any_revision)
        yield database
    finally:
        await database.close()


async def _check(database: Database, any_revision: bool) -> None:
    try:
        await (database.ping() if any_revision else check_revision(database))
    except DBAPIError as error:  # wrong password, no such database
        raise DatabaseUnavailable(f"PostgreSQL: {error.orig}") from error


@asynccontextmanager
async def open_queue(settings: RedisSettings) -> AsyncIterator[ArqRedis]:
    """Connect to Redis.

    Raises:
        ConfigurationError: the address is none.
        QueueUnavailable: it does not answer. Nothing of ours fails for that; callers go on without.
    """
    redis = jobs.create_redis(settings)
    try:
        await jobs.ping(redis)
        yield redis
    finally:
        await redis.aclose()


@dataclass(frozen=True, slots=True)
class Queue:
    """What Redis knows: how many jobs wait, and which workers live."""

    depth: int
    workers: list[WorkerState]


async def look_into_queue(settings: RedisSettings) -> Queue:
    """Return what Redis knows, or raise `QueueUnavailable`."""
    async with open_queue(settings) as redis:
        try:
            return Queue(await redis.zcard(jobs.QUEUE), await find_workers(redis))
        except (RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis: {error}") from error
