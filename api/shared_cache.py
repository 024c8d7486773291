"""A cache in Redis that all processes share. It never grows beyond its number of slots, and never holds up a request.

A value lies in the slot that its key's hash points to, and takes the place of what was there. So its size is bounded
whatever is asked for, and Redis, which must not evict the hints of jobs, has nothing to evict. Before the value stands
a checksum keyed by the value's whole key, which tells another key's value, and one that is cut short, from the right
one.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from arq.connections import ArqRedis

from api.settings import CacheSettings
from common import jobs
from common.breakers import Breaker
from common.errors import QueueUnavailable

PREFIX: Final = "likeness:cache:1:"
_CHECK_BYTES = 16

Answer = TypeVar("Answer")


class SharedCache:
    """Values by key, which is a digest of at least 8 and at most 64 bytes."""

    def __init__(self, redis: ArqRedis, breaker: Breaker, settings: CacheSettings) -> None:
        """Create it; `breaker` opens on `QueueUnavailable`: from then on a dead Redis costs nothing."""
        self._redis = redis
        self._breaker = breaker
        self._slots = settings.shared_vectors
        self._ttl_s = settings.shared_ttl_s
        self._timeout_s = settings.timeout_s
        breaker.probe_with(lambda: jobs.ping(redis))

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes] | None:
        """Return the values of those keys that have one; None: Redis can't be asked."""
        try:
            kept = await self._call(lambda: self._redis.mget([self._slot(key) for key in keys]))
        except QueueUnavailable:
            return None
        values = {key: _open(key, sealed) for key, sealed in zip(keys, kept, strict=True)}
        return {key: value for key, value in values.items() if value is not None}

    async def keep(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values, if Redis is there."""
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(self._slot(key), _seal(key, value), ex=self._ttl_s)
        with suppress(QueueUnavailable):  # the breaker has taken note
            await self._call(pipeline.execute)

    def _slot(self, key: bytes) -> str:
        return f"{PREFIX}{int.from_bytes(key[:8]) % self._slots}"

    async def _call(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        with self._breaker.guard():
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await ask()
            except jobs.REDIS_FAILED as error:
                raise QueueUnavailable(f"Redis: {str(error) or type(error).__name__}") from error


def _seal(key: bytes, value: bytes) -> bytes:
    return _check(key, value) + value


def _open(key: bytes, sealed: bytes | None) -> bytes | None:
    if sealed is None:
        return None
    check, value = sealed[:_CHECK_BYTES], sealed[_CHECK_BYTES:]
    return value if check == _check(key, value) else None


def _check(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, key=key, digest_size=_CHECK_BYTES).digest()
