"""Requests whose caller hangs up; `tests/integration/test_abandoned.py` has a real server tell it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from embedder.middleware import CancelAbandoned

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
HALF: Message = {"type": "http.request", "body": b"one ", "more_body": True}
REST: Message = {"type": "http.request", "body": b"two"}
GONE: Message = {"type": "http.disconnect"}

Handle = Callable[[Request], Awaitable[None]]


async def serve(handle: Handle, *messages: Message) -> None:
    """Have a request handled; once a server's messages are all told, it tells the last one again and again."""
    told = list(messages)

    async def receive() -> Message:
        await asyncio.sleep(0)
        if len(told) == 1 and told[0] != GONE:
            await asyncio.Event().wait()  # the caller waits
        return told.pop(0) if len(told) > 1 else GONE

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is sent here")

    async def app(scope: Scope, receive: Receive, _send: Send) -> None:
        await handle(Request(scope, receive))

    await CancelAbandoned(app)(SCOPE, receive, send)


async def test_the_body_reaches_the_app_and_its_caller_is_waited_for() -> None:
    bodies: list[bytes] = []

    async def handle(request: Request) -> None:
        bodies.append(await request.body())

    await serve(handle, HALF, REST, {"type": "the caller stays"})
    assert bodies == [b"one two"]


@pytest.mark.parametrize("messages", [(HALF, REST, GONE), (HALF, GONE)], ids=["after its body", "within its body"])
async def test_who_hangs_up_ends_the_handling(messages: tuple[Message, ...]) -> None:
    ended: list[type[BaseException]] = []

    async def handle(request: Request) -> None:
        try:
            await request.body()
            await asyncio.Event().wait()
        except BaseException as error:
            ended.append(type(error))
            raise

    await serve(handle, *messages)
    assert ended == [asyncio.CancelledError]


async def test_what_the_app_raises_is_raised() -> None:
    async def handle(_request: Request) -> None:
        raise LookupError("a defect")

    with pytest.raises(LookupError, match="a defect"):
        await serve(handle, REST, GONE)


async def test_a_server_that_stops_takes_the_handling_with_it() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def handle(_request: Request) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    serving = asyncio.create_task(serve(handle, REST, {"type": "the caller stays"}))
    await started.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert ended.is_set()
