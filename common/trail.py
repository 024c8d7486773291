"""What every service leaves of a request: a correlation id in its answer, a line in the log, a span in the trace."""

import asyncio
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import correlation, tracing
from common.metrics import UNMATCHED

_PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Paths that machines ask every few seconds: they are in no trace, and logged at DEBUG."""
_CALLER_GONE = 499
"""The status, in log and metrics alone, of what was not answered because nobody waited for it."""
_SERVER_ERROR = 500

OnEnd = Callable[[str, str, int, float], object]
"""Takes a request's method, the template of its route, the answer's status, and how many seconds it took."""

log = structlog.get_logger(__name__)


def route_of(scope: Scope) -> str:
    """Return the template of the route that took a request, which has no ids in it."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))


class RequestTrail:
    """ASGI middleware, to be around all others; everything but HTTP passes untouched."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        defect: ASGIApp | None = None,
        on_defect: Callable[[Exception], None] = lambda _: None,
        on_end: OnEnd = lambda *_: None,
    ) -> None:
        """Wrap an app.

        Args:
            app: is called under the request's correlation id, and within its span.
            defect: answers where the app raises; what it raised is in the log. Without one, it goes on to the server.
            on_defect: is told what the app raises.
            on_end: is told of every request when it is over.
        """
        self._app = app
        self._defect = defect
        self._on_defect = on_defect
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        with correlation.bound(correlation.accept(headers.get(correlation.HEADER)) or correlation.create()) as id_:
            answer = _Answer(send, id_)
            if scope["path"] in _PROBES:
                await self._handle(scope, receive, answer)
                return
            with tracing.resume(headers), tracing.span(scope["method"], "server") as span:
                try:
                    await self._handle(scope, receive, answer)
                finally:
                    _describe(span, scope, answer.status, id_)

    async def _handle(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._on_defect(error)
            log.exception("defect", route=route_of(scope))
            if answer.begun or self._defect is None:
                answer.cut_off()
                raise  # too late for an answer: the server cuts the connection
            await self._defect(scope, receive, answer.send)
        finally:
            line = log.debug if scope["path"] in _PROBES else log.info
            method, route, seconds = scope["method"], route_of(scope), time.perf_counter() - started
            line("request", method=method, route=route, status=answer.status, ms=round(seconds * 1000, 1))
            self._on_end(method, route, answer.status, seconds)


class _Answer:
    """An answer on its way out."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.status = _CALLER_GONE
        self.begun = False
        self._send = send
        self._request_id = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = int(message["status"])
            MutableHeaders(scope=message)[correlation.HEADER] = self._request_id
        await self._send(message)

    def cut_off(self) -> None:
        """Note that the server is going to say it is our fault, unless it has said something else already."""
        if not self.begun:
            self.status = _SERVER_ERROR


def _describe(span: tracing.Span, scope: Scope, status: int, request_id: str) -> None:
    method, route = scope["method"], route_of(scope)
    span.rename(f"{method} {route}")
    span.note(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "likeness.request_id": request_id,
        }
    )
    if status >= _SERVER_ERROR:
        span.fail(str(status))
