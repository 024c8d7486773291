"""The start of the app: one that is known to fail says why in plain words."""

import sys

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import LikenessError

log = structlog.get_logger(__name__)


class PlainStart:
    """ASGI middleware: an app that can't start says why in one line; a traceback is for defects alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; everything but a failed start passes untouched."""

        async def send_plainly(message: Message) -> None:
            error = sys.exc_info()[1]  # what the message, a formatted traceback, is about
            if message["type"] == "lifespan.startup.failed" and isinstance(error, LikenessError):
                log.error("cannot_start", code=error.code, error=str(error))
                message = {"type": message["type"], "message": ""}
            await send(message)

        await self._app(scope, receive, send_plainly if scope["type"] == "lifespan" else send)
