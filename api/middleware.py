"""What happens around every request: its trail in log and traces, advice to browsers, metrics by route template."""

from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from api.metrics import HTTP
from common.error_metrics import count_error, count_refusal
from common.errors import LikenessError
from common.trail import RequestTrail

MAX_BODY_BYTES = 1_000_000
"""Most bytes of a body that is not multipart: descriptions, lists of ids."""

_DEFECT = problem_response(500, LikenessError.default_code, "an internal error, which has been logged")
_TOO_LARGE_CODE = "request_too_large"
_TOO_LARGE = problem_response(413, _TOO_LARGE_CODE, f"a request like this may have {MAX_BODY_BYTES} bytes")

_ADVICE = Headers(
    {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
).raw
"""What browsers are told with every answer: take it for what it says it is, and let no other site have a part in it.

Pages, and the bytes of images, have a policy of their own.
"""


class RequestContext:
    """ASGI middleware: leaves the request's trail, see `RequestTrail`, and accounts it.

    Every answer that leaves through it, those of errors too, has the headers that keep browsers from mischief.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._trail = RequestTrail(
            self._admit, defect=_DEFECT, on_defect=partial(count_error, "api"), on_end=HTTP.answered
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; everything but HTTP passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_advice(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(advice for advice in _ADVICE if advice[0] not in given)]
            await send(message)

        await self._trail(scope, receive, send_with_advice)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _declares_too_much(Headers(scope=scope)):
            count_refusal("api", _TOO_LARGE_CODE)
            await _TOO_LARGE(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _declares_too_much(headers: Headers) -> bool:
    """Pictures have limits (or answers) of their own; what declares no length is cut off by the routes' limit."""
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return False
    multipart = headers.get("content-type", "").lower().startswith(("multipart/", "image/"))
    return not multipart and int(length) > MAX_BODY_BYTES
