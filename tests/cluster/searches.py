"""What people do while a cluster is changed under them: they search, and each answer counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import httpx

_PAUSE_S = 0.3


class Searches:
    """Searches by a text that is new each time, and for what is similar to an image; none is ever repeated."""

    def __init__(self, client: httpx.AsyncClient, image_id: str) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._client = client
        self._image_id = image_id

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Search one time after the other while inside."""
        stop = asyncio.Event()

        async def flow() -> None:
            for number in count():
                if stop.is_set():
                    return
                await self._search("/search/text", {"q": f"wanted {number}"})
                await self._search(f"/images/{self._image_id}/similar", {})
                await asyncio.sleep(_PAUSE_S)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(flow())
            yield
            stop.set()

    async def _search(self, path: str, query: dict[str, str]) -> None:
        try:
            response = await self._client.get(path, params=query)
        except httpx.TransportError as error:
            self.failed.append(f"{path}: {error!r}")
        else:
            self.answered += 1
            if not response.is_success:
                self.failed.append(f"{path}: {response.status_code} {response.text}")
