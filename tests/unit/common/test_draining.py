"""A service that is told to stop drains first; by a clock that only tests move."""

import asyncio
import gc
import signal
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from common.draining import CloseConnections, Drain, DrainingServer, serve

DRAIN_S = 5.0


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("common.draining.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def create_server(drain: Drain, drain_s: float = DRAIN_S) -> DrainingServer:
    return DrainingServer(uvicorn.Config(PlainTextResponse("here"), log_config=None), drain, drain_s)


async def test_it_goes_when_it_has_drained(clock: Clock) -> None:
    drain = Drain()
    server = create_server(drain)
    assert not await server.on_tick(1)
    server.handle_exit(signal.SIGTERM, None)
    assert drain.began
    clock.now += DRAIN_S - 0.1
    assert not await server.on_tick(2)
    clock.now += 0.1
    assert await server.on_tick(3)


async def test_a_second_signal_hurries_it(clock: Clock) -> None:
    server = create_server(Drain())
    server.handle_exit(signal.SIGTERM, None)
    assert not await server.on_tick(1)
    server.handle_exit(signal.SIGTERM, None)
    assert await server.on_tick(2)


async def test_nothing_to_drain_for(clock: Clock) -> None:
    drain = Drain()
    server = create_server(drain, 0)
    server.handle_exit(signal.SIGINT, None)
    assert drain.began
    assert await server.on_tick(1)


async def test_answers_end_their_connections_while_it_drains() -> None:
    drain = Drain()
    transport = httpx.ASGITransport(CloseConnections(PlainTextResponse("here"), drain=drain))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        assert "Connection" not in (await client.get("/")).headers
        drain.began = True
        assert (await client.get("/")).headers["Connection"] == "close"


@pytest.fixture
def ended_at_once() -> Iterator[list[int]]:
    """The signals that would have ended this process then and there."""
    signals: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    yield signals
    signal.signal(signal.SIGTERM, before)


def test_who_has_it_served_may_tidy_up_after_it(ended_at_once: list[int]) -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    drain = Drain()
    gc.unfreeze()
    try:
        serve(app, drain, 0, host="127.0.0.1", port=0, lifespan="on")
        assert gc.get_freeze_count(), "what has been made for the start is out of the collector's way"
    finally:
        gc.unfreeze()

    assert drain.began
    assert ended_at_once == []


def test_what_can_not_start_ends_with_the_status_of_all_services() -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": ""})

    with pytest.raises(SystemExit) as ended:
        serve(app, Drain(), 0, host="127.0.0.1", port=0, lifespan="on")
    assert ended.value.code == 1
