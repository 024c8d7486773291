"""Downloads from URLs that strangers name, so that these lead nowhere but to the public internet.

A name is looked up once for each request, every address it has must be a public one, and the connection goes to an
address that was checked, under the URL's name: a name server that answers otherwise the next time gains nothing.
Redirects are followed one by one, each checked like the first URL. Neither proxies nor credentials of the environment
are used, nothing is decompressed, and one deadline covers it all.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import httpx

from common.addresses import is_global_unicast
from common.errors import DownloadFailed, ImageRejected, InvalidInput, StorageUnavailable, UrlRefused
from common.received import ReceivedFile
from common.source_urls import SourceUrl

_MAX_REDIRECTS = 3
_MAX_ADDRESSES = 4
"""Of one name, tried in turn until one connects."""
_CONNECT_TIMEOUT_S = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEMPORARY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_HEADERS = {"User-Agent": "Likeness", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Network:
    """The way to other people's servers. Only tests have another one than `Internet` makes.

    Attributes:
        resolve: returns the numeric addresses of a host; raises `OSError`.
        open: makes what requests go through, anew for each: no connection serves two names.
        admits: tells whether an address is one to go to.
    """

    resolve: Callable[[str], Awaitable[Sequence[str]]]
    open: Callable[[], httpx.AsyncBaseTransport]
    admits: Callable[[str], bool] = is_global_unicast


class Internet:
    """The public internet. Names are looked up on threads of its own: slow name servers hold up downloads alone."""

    def __init__(self, threads: int) -> None:
        """Create the way there; `threads` is how many names are looked up at once."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        # Loaded once: reading the certificates takes longer than many a download.
        self._tls: ssl.SSLContext = httpx.create_ssl_context(trust_env=False)
        self.network = Network(self._resolve, partial(httpx.AsyncHTTPTransport, verify=self._tls, trust_env=False))

    async def _resolve(self, host: str) -> list[str]:
        look_up = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Look up no more; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Fetcher:
    """Fetches files from URLs."""

    def __init__(self, network: Network, timeout_s: float) -> None:
        """Create a fetcher; `timeout_s` is how long a file may take in all."""
        self._network = network
        self._timeout_s = timeout_s

    async def fetch(self, url: str, file: ReceivedFile, max_bytes: int) -> None:
        """Receive what is at `url`; a file larger than `max_bytes` is marked, and not read to its end.

        Raises:
            UrlRefused: it leads, now or after a redirect, to where it must not.
            ImageRejected: `download_failed`, the server said no for good.
            DownloadFailed: it may be better later.
            StorageUnavailable: the temporary file can't be written.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._follow(_parse(partial(SourceUrl.parse, url)), file, max_bytes)
        except TimeoutError:
            raise DownloadFailed(f"the download took longer than {self._timeout_s:g} s") from None
        except httpx.HTTPError as error:  # its text may have the server's words
            raise DownloadFailed(f"the download broke off: {type(error).__name__}") from error

    async def _follow(self, source: SourceUrl, file: ReceivedFile, max_bytes: int) -> None:
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._request(source) as response:
                if response.status_code not in _REDIRECTS:
                    _check(response)
                    await _receive(response, file, max_bytes)
                    return
                source = _parse(partial(source.join, response.headers.get("location", "")))
        raise ImageRejected(f"more than {_MAX_REDIRECTS} redirects", code=DownloadFailed.default_code)

    @asynccontextmanager
    async def _request(self, source: SourceUrl) -> AsyncIterator[httpx.Response]:
        addresses = await self._find_addresses(source)
        # Not through a client: that would keep cookies, and log URLs.
        async with self._network.open() as transport:
            response = await self._connect(transport, source, addresses)
            try:
                yield response
            finally:
                await response.aclose()

    async def _find_addresses(self, source: SourceUrl) -> Sequence[str]:
        try:
            addresses = await self._network.resolve(source.host)
        except (OSError, UnicodeError) as error:
            raise DownloadFailed(f"{source.host} can't be found") from error
        # All of them: which one is public must not be a matter of luck.
        if not addresses or not all(map(self._network.admits, addresses)):
            raise UrlRefused(f"{source.host} is not on the public internet")
        return addresses[:_MAX_ADDRESSES]

    async def _connect(
        self, transport: httpx.AsyncBaseTransport, source: SourceUrl, addresses: Sequence[str]
    ) -> httpx.Response:
        for address in addresses[:-1]:
            try:
                return await transport.handle_async_request(self._build(source, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await transport.handle_async_request(self._build(source, addresses[-1]))

    def _build(self, source: SourceUrl, address: str) -> httpx.Request:
        """Build a request to an address; certificate and virtual host are still those of the name."""
        timeout = httpx.Timeout(self._timeout_s, connect=_CONNECT_TIMEOUT_S)
        return httpx.Request(
            "GET",
            source.at(address),
            headers={"Host": source.authority, **_HEADERS},
            extensions={"sni_hostname": source.host, "timeout": timeout.as_dict()},
        )


def _parse(read: Callable[[], SourceUrl]) -> SourceUrl:
    try:
        return read()
    except InvalidInput as error:
        raise UrlRefused(str(error)) from error


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TEMPORARY:
        raise DownloadFailed(f"the server answered {status}")
    if status != HTTPStatus.OK:
        raise ImageRejected(f"the server answered {status}", code=DownloadFailed.default_code)
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ImageRejected("the server answered compressed, unasked", code=DownloadFailed.default_code)


async def _receive(response: httpx.Response, file: ReceivedFile, max_bytes: int) -> None:
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        file.too_large = True
        return
    try:
        async for piece in response.aiter_raw():
            await asyncio.to_thread(file.write, piece, max_bytes)
            if file.too_large:
                return
        await asyncio.to_thread(file.finish)
    except OSError as error:
        raise StorageUnavailable(f"temporary storage: {error.strerror}", code="spool_unavailable") from error
