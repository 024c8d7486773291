"""Around every request: limits on its body and on all bodies together, and an eye on the caller."""

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.budget import Budget
from common.error_metrics import OVERLOAD, count_refusal
from common.errors import Overloaded
from embedder.errors import refusal

_TOO_LARGE_CODE = "body_too_large"
_TOO_LARGE = "the body is longer than the {limit} bytes allowed here"
_TOO_MANY = "the bodies of other requests take all the memory there is for them"
_RETRY_AFTER_S = 1


class BodyLimit:
    """Refuses bodies over a path's limit, and those for which there is no memory beside all that are being handled.

    A body of undeclared length counts as the longest allowed, and is cut off where it passes that. Small ones, among
    them texts that people wait for, are always let through.
    """

    def __init__(self, app: ASGIApp, *, limits: Mapping[str, int], default: int, memory: Budget) -> None:
        """Wrap an app.

        Args:
            app: what is called with the bodies let through.
            limits: the longest body, in bytes, by path.
            default: the longest body of all other paths; no longer ones do not count as memory.
            memory: how many bytes all requests may hold together.
        """
        self._app = app
        self._limits = limits
        self._default = default
        self._memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.get(scope["path"], self._default)
        length = _body_length(Headers(scope=scope), limit)
        if length > limit:
            count_refusal("embedder", _TOO_LARGE_CODE)
            await refusal(scope["path"], 413, _TOO_LARGE_CODE, _TOO_LARGE.format(limit=limit))(scope, receive, send)
            return
        share = self._memory.try_take(length if length > self._default else 0)
        if share is None:
            count_refusal("embedder", Overloaded.default_code, OVERLOAD)
            headers = {"Retry-After": str(_RETRY_AFTER_S)}
            await refusal(scope["path"], 429, Overloaded.default_code, _TOO_MANY, headers)(scope, receive, send)
            return
        with share:
            await self._app(scope, _cut_off(receive, limit), send)


def _body_length(headers: Headers, longest: int) -> int:
    """The length that a request declares for its body, `longest` where it has one but does not say."""
    declared = headers.get("content-length", "")
    if declared.isdecimal():
        return int(declared)
    return longest if "transfer-encoding" in headers else 0


def _cut_off(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _TOO_LARGE.format(limit=limit))
        return message

    return receive_limited


class CancelAbandoned:
    """Ends the handling of a request whose caller has hung up, so that what still waits of it never costs anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = _Caller(receive)
        handling = asyncio.ensure_future(self._app(scope, caller.receive, send))
        leaving = asyncio.ensure_future(caller.hangs_up())
        try:
            await asyncio.wait({handling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handling.cancel()
            leaving.cancel()
            await asyncio.wait({handling, leaving})
        if not handling.cancelled():
            handling.result()  # raises what it has raised


class _Caller:
    """The messages of a caller: the app hears its body, and is ended when it has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._heard = asyncio.Event()

    async def receive(self) -> Message:
        """Return the next piece of the body; after the last one, nothing ever comes."""
        if not self._heard.is_set():
            message = await self._receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                self._heard.set()
            if message["type"] == "http.request":
                return message
        nothing: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await nothing

    async def hangs_up(self) -> None:
        """Return when it has; servers tell that only to whoever asks for more after the body."""
        await self._heard.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
