"""What happens around every request: a correlation id, advice to browsers, one access log line, metrics by template."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from api.metrics import HTTP
from common.error_metrics import count_error
from common.errors import LikenessError
from common.metrics import UNMATCHED

_REQUEST_ID = "X-Request-ID"
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

MAX_BODY_BYTES = 1_000_000
"""Most bytes of a body that is not multipart: descriptions, lists of ids."""

_DEFECT = problem_response(500, LikenessError.default_code, "an internal error, which has been logged")
_TOO_LARGE = problem_response(413, "request_too_large", f"a request like this may have {MAX_BODY_BYTES} bytes")

_ADVICE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What browsers are told with every answer: take it for what it says it is, and let no other site have a part in it.

Pages, and the bytes of images, have a policy of their own.
"""

log = structlog.get_logger(__name__)


class RequestContext:
    """ASGI middleware: takes or makes `X-Request-ID`, answers it, binds it to the log, and accounts the request.

    Every answer that leaves through it, those of errors too, has the headers that keep browsers from mischief.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; everything but HTTP passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        given = asked.get(_REQUEST_ID, "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else uuid4().hex
        started, status, answering = time.perf_counter(), 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                answering = True
                status = int(message["status"])
                headers = MutableHeaders(scope=message)
                headers[_REQUEST_ID] = request_id
                for name, advice in _ADVICE.items():
                    headers.setdefault(name, advice)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                app = _TOO_LARGE if _declares_too_much(asked) else self._app
                await app(scope, receive, send_with_id)
            except Exception as error:
                count_error("api", error)
                log.exception("defect", path=scope["path"])
                if answering:
                    raise  # too late for an answer: the server cuts the connection
                await _DEFECT(scope, receive, send_with_id)
            finally:
                _account(scope, status, time.perf_counter() - started)


def _declares_too_much(headers: Headers) -> bool:
    """Pictures have limits (or answers) of their own; what declares no length is cut off by the routes' limit."""
    length = headers.get("content-length", "")
    multipart = headers.get("content-type", "").lower().startswith(("multipart/", "image/"))
    return not multipart and length.isdecimal() and int(length) > MAX_BODY_BYTES


def _account(scope: Scope, status: int, seconds: float) -> None:
    # The template, never the path: a label per id would be a label without bound.
    route = getattr(scope.get("route"), "path", UNMATCHED)
    HTTP.answered(scope["method"], route, status, seconds)
    log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
