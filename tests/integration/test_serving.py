"""A server inside a process with other things to do: ready when the block begins, gone when it ends."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from common.errors import ConfigurationError
from common.serving import _listen, serving
from deploy.local.ports import choose_ports

HOST = "127.0.0.1"


@pytest.fixture
def port() -> int:
    (chosen,) = choose_ports(1)
    return chosen


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", hello)])


async def get(port: int, host: str = HOST) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{host}:{port}/")


async def test_it_serves_while_inside_and_no_longer(port: int) -> None:
    async with serving(APP, HOST, port) as task:
        assert (await get(port)).text == "hello"
        assert not task.done()
    assert task.done()
    with pytest.raises(httpx.ConnectError):
        await get(port)


async def test_the_port_is_free_again(port: int) -> None:
    for _ in range(3):
        async with serving(APP, HOST, port):
            assert (await get(port)).text == "hello"


async def test_it_listens_where_it_is_told() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    async with serving(APP, "::1", port):
        assert (await get(port, "[::1]")).text == "hello"


async def test_a_taken_port_is_refused_by_name(port: int) -> None:
    async with serving(APP, HOST, port):
        with pytest.raises(ConfigurationError, match=str(port)) as caught:
            async with serving(APP, HOST, port):
                pytest.fail("two can't listen on one port")
        assert caught.value.code == "address_in_use"
        assert (await get(port)).text == "hello", "the first one is unharmed"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
async def test_an_address_that_is_not_ours_is_refused(host: str, port: int) -> None:
    with pytest.raises(ConfigurationError, match=host):
        async with serving(APP, host, port):
            pytest.fail("nobody can listen there")


async def test_an_app_that_does_not_start_is_said_and_its_port_is_free(port: int) -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if not await asyncio.sleep(0, result=False):
            raise OSError("no database")
        yield

    for _ in range(2):
        with pytest.raises(ConfigurationError) as caught:
            async with serving(Starlette(lifespan=lifespan), HOST, port):
                pytest.fail("it did not start")
        assert caught.value.code == "app_not_started"
    async with serving(APP, HOST, port):
        assert (await get(port)).text == "hello"


async def test_an_error_inside_comes_out_and_the_server_stops(port: int) -> None:
    async def fail() -> None:
        async with serving(APP, HOST, port):
            raise KeyError("something else went wrong")

    with pytest.raises(KeyError):
        await fail()
    with pytest.raises(httpx.ConnectError):
        await get(port)


async def test_who_is_being_served_is_served_to_the_end(port: int) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        inside.set()
        await go_on.wait()
        return PlainTextResponse("done")

    async with serving(Starlette(routes=[Route("/", slow)]), HOST, port):
        request = asyncio.create_task(get(port))
        await inside.wait()
        asyncio.get_running_loop().call_soon(go_on.set)  # while the server is stopping
    assert (await request).text == "done"


async def test_signals_are_left_to_the_process(port: int) -> None:
    received = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR2, received.set)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        async with serving(APP, HOST, port):
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
            os.kill(os.getpid(), signal.SIGUSR2)
            await received.wait()
            assert (await get(port)).text == "hello"
    finally:
        loop.remove_signal_handler(signal.SIGUSR2)


async def test_answers_are_not_held_back_for_acknowledgements(port: int) -> None:
    accepted = asyncio.get_running_loop().create_future()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(accept, sock=_listen(HOST, port)):
        _, writer = await asyncio.open_connection(HOST, port)
        assert await accepted != 0
        writer.close()
