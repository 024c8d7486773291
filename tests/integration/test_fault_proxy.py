"""The line that fault tests break, before a server that answers in capitals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from deploy.local.ports import LOOPBACK
from tests.fixtures.fault_proxy import FaultProxy

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]
PATIENCE_S = 60


class Server:
    """Answers every line in capitals and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line.upper())
        writer.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[FaultProxy]:
    listening = await asyncio.start_server(server, LOOPBACK, 0)
    async with FaultProxy(listening.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def connect(proxy: FaultProxy) -> AsyncIterator[Connect]:
    """Opens connections through the line."""
    writers: list[asyncio.StreamWriter] = []

    async def open_connection() -> Connection:
        reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
        writers.append(writer)
        return reader, writer

    yield open_connection
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(connection: Connection, line: bytes) -> bytes:
    """Say a line; return the answer, or nothing if the connection ends."""
    reader, writer = connection
    writer.write(line)
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.readline()
        except ConnectionError:
            return b""


async def test_a_healthy_line_passes_everything_on(connect: Connect) -> None:
    one, other = await connect(), await connect()
    assert await ask(one, b"a\n") == b"A\n"
    assert await ask(other, b"b\n") == b"B\n"
    assert await ask(one, b"c\n") == b"C\n"


async def test_a_cut_breaks_what_is_open_alone(proxy: FaultProxy, connect: Connect) -> None:
    connection = await connect()
    assert await ask(connection, b"a\n") == b"A\n"
    await proxy.cut()
    assert await ask(connection, b"b\n") == b""
    assert await ask(await connect(), b"c\n") == b"C\n"


async def test_refused_until_healed(proxy: FaultProxy, connect: Connect) -> None:
    connection = await connect()
    assert await ask(connection, b"a\n") == b"A\n"
    await proxy.refuse()
    assert await ask(connection, b"b\n") == b""
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await proxy.heal()
    assert await ask(await connect(), b"c\n") == b"C\n"


async def test_a_stalled_line_holds_everything_back(proxy: FaultProxy, connect: Connect, server: Server) -> None:
    old = await connect()
    assert await ask(old, b"a\n") == b"A\n"
    proxy.stall()
    asked = [asyncio.create_task(ask(connection, b"b\n")) for connection in (old, await connect())]
    done, _ = await asyncio.wait(asked, timeout=0.2)
    assert (done, server.heard) == (set(), [b"a\n"])
    await proxy.heal()
    assert await asyncio.gather(*asked) == [b"B\n", b"B\n"]


async def test_a_delayed_line_is_late(proxy: FaultProxy, connect: Connect) -> None:
    proxy.delay(0.1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await ask(await connect(), b"a\n") == b"A\n"
    assert loop.time() - started >= 0.2


async def test_a_lost_answer_is_to_a_heard_request(proxy: FaultProxy, connect: Connect, server: Server) -> None:
    one, other = await connect(), await connect()
    proxy.lose_answer(b"COMMIT")
    assert await ask(one, b"SELECT\n") == b"SELECT\n"
    assert await ask(one, b"COMMIT\n") == b""
    assert proxy.answers_lost == 1
    assert server.heard == [b"SELECT\n", b"COMMIT\n"]
    assert await ask(other, b"COMMIT\n") == b"COMMIT\n"
