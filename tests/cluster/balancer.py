"""What stands before several api processes: a load balancer, as small as it can be.

It asks each for `/ready` again and again, and sends each request to the next one that is. One that refuses the
connection has got nothing of the request, so the next one gets it. Nothing else is ever sent twice.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import httpx

from common.tls import verify

_LOOK_S = 0.4
_READY_S = 5.0


class Balancer(httpx.AsyncBaseTransport):
    """An httpx transport: a client with it needs to know nothing of the processes."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.answered: Counter[str] = Counter()
        """Answers by address."""
        self._urls = urls
        self._ready: set[str] = set()
        self._turns = count()
        self._http = httpx.AsyncHTTPTransport(verify=verify(urls[0]))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Ask the processes for their readiness while inside, which begins when one is ready."""
        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(self._watch(url)) for url in self._urls]
            while not self._ready:  # noqa: ASYNC110 - a set
                await asyncio.sleep(_LOOK_S)
            yield
            for watcher in watchers:
                watcher.cancel()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to a process that is ready."""
        turn = next(self._turns)
        ready = [url for url in self._urls if url in self._ready] or self._urls
        order = [ready[(turn + step) % len(ready)] for step in range(len(ready))]
        order += [url for url in self._urls if url not in order]
        for url in order[:-1]:
            try:
                return await self._send(request, url)
            except httpx.ConnectError:
                self._ready.discard(url)
        return await self._send(request, order[-1])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, request: httpx.Request, url: str) -> httpx.Response:
        target = httpx.URL(url)
        response = await self._http.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )
        self.answered[url] += 1
        return response

    async def _watch(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=_READY_S, verify=verify(url)) as client:
            while True:
                try:
                    ready = (await client.get(f"{url}/ready")).is_success
                except httpx.TransportError:
                    ready = False
                if ready:
                    self._ready.add(url)
                else:
                    self._ready.discard(url)
                await asyncio.sleep(_LOOK_S)
