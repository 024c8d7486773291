"""An HTTP server inside a process that has other things to do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import uvicorn

from common.errors import ConfigurationError

_GRACE_S = 10


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process, which decides in which order its parts stop."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, or raise: an app that fails to start is no reason to end the whole process on the spot."""
        try:
            await super().startup(sockets)
        except SystemExit:
            raise ConfigurationError("the HTTP app did not start; the log says why", code="app_not_started") from None


@asynccontextmanager
async def serving(app: Any, host: str, port: int) -> AsyncIterator[asyncio.Task[None]]:
    """Serve an ASGI app while inside; yields the task that serves, which ends early only if something is wrong.

    Raises:
        ConfigurationError: the address can't be listened on, or the app did not start.
    """
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S)
    server = _Server(config)
    with closing(_listen(host, port)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if task.done():
                    await task
                    raise ConfigurationError("the HTTP app ended before it had started", code="app_not_started")
                await asyncio.sleep(0.02)
            yield task
        finally:
            server.should_exit = True
            await asyncio.wait([task])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns off Nagle's algorithm only where it is. With it on, an answer whose
    # head and body are two packets may wait 40 ms for the client to acknowledge the first.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"can't listen on {host}:{port}: {error.strerror}", code="address_in_use") from error
    listener.set_inheritable(False)
    return listener
