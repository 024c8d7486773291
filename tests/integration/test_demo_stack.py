"""Which stack the demo uses, and what it says when there is none."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.connection_file import FILE_NAME
from deploy.local.demo.stack import serving_stack
from deploy.local.errors import ServiceFailed
from deploy.local.ports import LOOPBACK

ANSWERS = {
    b"/health": {"status": "alive"},
    b"/ready": {"ready": True, "dependencies": [], "model": "m", "demo": True},
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("LIKENESS_URL", raising=False)
    monkeypatch.setenv("LIKENESS_HOME", str(tmp_path))
    monkeypatch.setenv("PORT", "1")
    return tmp_path


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A service that says it is a Likeness, and ready."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(ANSWERS[request.split()[1]], separators=(",", ":")).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    listener = socket.create_server((LOOPBACK, 0))
    async with await asyncio.start_server(serve, sock=listener):
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"


async def use() -> tuple[str, bool]:
    said: list[str] = []
    async with serving_stack(said.append) as found:
        assert len(said) == 1
        return found


async def test_the_stack_of_the_environment_comes_first(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps({"LIKENESS_URL": "http://127.0.0.1:1"}))
    monkeypatch.setenv("LIKENESS_URL", url)
    assert await use() == (url, True)


async def test_then_the_one_that_runs_on_the_data_folder(url: str, home: Path) -> None:
    (home / FILE_NAME).write_text(json.dumps({"LIKENESS_URL": url}))
    assert await use() == (url, True)


async def test_then_the_one_on_the_port(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", url.rpartition(":")[2])
    assert await use() == (url, True)


async def test_one_that_is_named_but_not_there_is_not_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_URL", "http://127.0.0.1:1")
    with pytest.raises(ServiceFailed, match="LIKENESS_URL"):
        await use()


async def test_one_of_its_own_that_cannot_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server((LOOPBACK, 0))
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), sock=listener):
        monkeypatch.setenv("PORT", str(listener.getsockname()[1]))  # taken, and not by a Likeness
        with pytest.raises(ServiceFailed, match="ended with status 1"):
            await use()
