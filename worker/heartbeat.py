"""What workers say of themselves in Redis, for `likeness status`. It expires by itself, and nothing depends on it."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

import structlog
from arq.connections import ArqRedis

from common.breakers import Breakers, BreakerState
from common.jobs import REDIS_FAILED

INTERVAL_S: Final = 5.0
_EXPIRY_S = 16
_PREFIX = "likeness:worker:"
_SCAN = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker that was alive seconds ago, and how its circuit breakers stood."""

    name: str
    breakers: dict[str, BreakerState]

    @property
    def open(self) -> list[str]:
        """What it takes to be down."""
        return [name for name, state in self.breakers.items() if state is not BreakerState.CLOSED]


async def beat(redis: ArqRedis, name: str, breakers: Breakers) -> None:
    """Tell every few seconds, and when a breaker opens or closes, until cancelled; then no more is told."""
    try:
        while True:
            changed = breakers.changed
            try:
                await redis.set(_PREFIX + name, json.dumps(breakers.states), ex=_EXPIRY_S)
            except REDIS_FAILED as error:  # said at length by those who need Redis
                log.debug("heartbeat_lost", error=str(error) or type(error).__name__)
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        await redis.aclose(close_connection_pool=True)


async def find_workers(redis: ArqRedis) -> list[WorkerState]:
    """Return the workers that live, by name."""
    keys = sorted({key.decode() async for key in redis.scan_iter(match=_PREFIX + "*", count=_SCAN)})
    told = await redis.mget(keys) if keys else []
    # Some may have expired in between.
    return [_parse(key, text) for key, text in zip(keys, told, strict=True) if text is not None]


def _parse(key: str, text: bytes) -> WorkerState:
    states = {name: BreakerState(state) for name, state in json.loads(text).items()}
    return WorkerState(key.removeprefix(_PREFIX), states)
