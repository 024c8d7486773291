"""An orderly end for an HTTP service: told to stop, it says so on `/ready`, serves for a while longer, and then closes.

Load balancers ask `/ready` every few seconds. A server that closes its port at once refuses what they send until they
have noticed; one that first says that it is about to go is sent nothing by the time it goes.
"""

import signal
import socket
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.starting import settle_memory

log = structlog.get_logger(__name__)

DETAIL = "it is shutting down, and still serves what comes"


class Drain:
    """Whether a service has been told to stop; shared by its server, `/ready` and `CloseConnections`."""

    def __init__(self) -> None:
        self.began = False


class CloseConnections:
    """ASGI middleware: while a service drains, each answer ends its connection.

    So no request is sent on one just as the server closes it.
    """

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; everything but HTTP passes untouched."""

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.began:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_closing if scope["type"] == "http" else send)


class DrainingServer(uvicorn.Server):
    """A server that drains on its first signal, for so many seconds; a second one ends that.

    It returns when it is done. uvicorn's own server would send itself the signal once more, and the process be gone
    before whoever called it could send its last spans.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._ends: float | None = None
        self._told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, listen, and have what has been made for that out of the way."""
        await super().startup(sockets)
        settle_memory()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as uvicorn calls it
        """Take a signal. No log line here: the signal may have interrupted one."""
        hurry = self._drain.began or self._drain_s == 0
        self._drain.began = True
        if hurry:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
        else:
            self._ends = monotonic() + self._drain_s

    async def on_tick(self, counter: int) -> bool:
        """Look ten times a second whether it is time to go."""
        if self._ends is not None and not self._told:
            self._told = True
            log.info("draining", seconds=self._drain_s)
        if self._ends is not None and monotonic() >= self._ends:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(app: ASGIApp, drain: Drain, drain_s: float, **config: Any) -> None:
    """Serve an app until told to stop, and then for `drain_s` seconds more; `config` is `uvicorn.Config`'s.

    What can't start ends the process with status 1, as all of ours; the log says why.
    """
    server = DrainingServer(uvicorn.Config(app, log_config=None, access_log=False, **config), drain, drain_s)
    with suppress(KeyboardInterrupt):  # of a Ctrl-C before it listens to signals
        try:
            server.run()
        except SystemExit:  # with a status of uvicorn's own
            raise SystemExit(1) from None
