"""A service that is told to stop drains first; by a clock that only tests move."""

import signal

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from common.draining import CloseConnections, Drain, DrainingServer

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
