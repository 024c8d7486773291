"""What clients do during a fault: upload until it is accepted, and measure how long each answer took."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from time import monotonic

import httpx

from tests.faults.judged import Judged
from tests.fixtures.pictures import jpeg
from tests.fixtures.uploading import upload

LONG = os.environ.get("FAULTS_LONG") == "1"
"""Whether faults last as long as the issue says, not just long enough to be faults."""

_PAUSE_S = 0.1
_numbers = count()


def lasting(short_s: float, long_s: float) -> float:
    """Return how long a fault lasts."""
    return long_s if LONG else short_s


def pictures(number: int) -> list[bytes]:
    """Return pictures that nobody has uploaded yet."""
    return [jpeg(64, 48, seed=next(_numbers)) for _ in range(number)]


class Traffic:
    """Uploads, and what came of them."""

    def __init__(self, system: Judged) -> None:
        self._client = system.client
        self.accepted: list[str] = []
        self.seconds: list[float] = []
        self.refused: set[str] = set()
        """Codes of answers with 429 or 503, and names of errors: clients try these again."""

    async def send(self, *files: bytes) -> list[str]:
        """Upload files, again and again until they are accepted; return their ids."""
        while True:
            started = monotonic()
            try:
                response = await upload(self._client, *files)
            except httpx.TransportError as error:
                self.refused.add(type(error).__name__)
            else:
                self.seconds.append(monotonic() - started)
                if response.status_code == httpx.codes.ACCEPTED:
                    body = response.json()
                    assert body["rejected"] == []
                    ids = [image["id"] for image in body["images"]]
                    self.accepted += ids
                    return ids
                assert response.status_code in (429, 503), response.text
                self.refused.add(response.json()["code"])
            await asyncio.sleep(_PAUSE_S)

    @asynccontextmanager
    async def flowing(self, pause_s: float = _PAUSE_S) -> AsyncIterator[None]:
        """Upload one picture after the other while inside; the last is accepted before this ends."""
        stop = asyncio.Event()

        async def flow() -> None:
            while not stop.is_set():
                await self.send(*pictures(1))
                await asyncio.sleep(pause_s)

        async with asyncio.TaskGroup() as tasks:  # an answer that must not be ends the test at once
            tasks.create_task(flow())
            yield
            stop.set()

    def p99_s(self) -> float:
        """Return the 99th percentile of the answers' times, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
