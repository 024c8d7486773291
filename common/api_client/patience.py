"""Trying again what passes by itself: 429, 502, 503, 504, a lost connection."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import count

import httpx

from common.api_client.errors import ApiUnavailable
from common.api_client.problems import detail_of, reason_of

_TRANSIENT = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_BASE_S = 0.5
_CAP_S = 30.0
_MAX_DOUBLINGS = 10


class Patience:
    """How long a request is tried again: after `Retry-After` if the answer has one, else with jittered backoff.

    Args:
        limit_s: for how long, in seconds.
        on_pause: told why a request waits, and for how many seconds.
        sleep: waits.
    """

    def __init__(
        self,
        limit_s: float = 300,
        *,
        on_pause: Callable[[str, float], None] = lambda _reason, _seconds: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit_s = limit_s
        self._on_pause = on_pause
        self.sleep = sleep

    async def persist(self, attempt: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Return the first answer that is not transient.

        Raises:
            ApiUnavailable: there was none in time.
        """
        deadline = asyncio.get_running_loop().time() + self._limit_s
        for tries in count():
            pause = backoff(tries, random.random())  # noqa: S311
            try:
                response = await attempt()
            except httpx.TransportError as error:
                reason = reason_of(error)
            else:
                if response.status_code not in _TRANSIENT:
                    return response
                reason = detail_of(response)
                pause = parse_retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC)) or pause
            if asyncio.get_running_loop().time() + pause > deadline:
                raise ApiUnavailable(f"the API: {reason}")
            self._on_pause(reason, pause)
            await self.sleep(pause)
        raise AssertionError("counts forever")


def backoff(tries: int, jitter: float) -> float:
    """Return seconds: between half and all of `min(30, 0.5 * 2 ** tries)`; `jitter` is in [0, 1)."""
    return min(_CAP_S, _BASE_S * 2.0 ** min(tries, _MAX_DOUBLINGS)) * (0.5 + jitter / 2)


def parse_retry_after(header: str, now: datetime) -> float | None:
    """Read a `Retry-After` (RFC 9110, 10.2.3: seconds or a date) as seconds from now; None: it has none."""
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    seconds: float = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds)
