"""`likeness import` against the real API."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image as Picture
from sqlalchemy import text

from api.main import create_app
from api.settings import ApiSettings
from common.db.engine import Database
from common.serving import serving
from deploy.local.ports import LOOPBACK, choose_ports
from tests.fixtures.cli import Run
from tests.integration.cli.conftest import statuses


@pytest.fixture
async def api_url(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The real API on a free port; no worker, no embedder."""
    for name, value in {**environment, "QDRANT__PATH": str(tmp_path / "vectors")}.items():
        monkeypatch.setenv(name, value)
    (port,) = choose_ports(1)
    async with serving(create_app(ApiSettings()), LOOPBACK, port):
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for number in range(60):
        Picture.new("RGB", (8, 8), (number, 0, 0)).save(folder / "deep" / f"{number}.png")
    return folder


async def test_import_is_resumable_and_tells_what_was_rejected(
    run: Run, api_url: str, database: Database, pictures: Path
) -> None:
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "copy [red].png").write_bytes((pictures / "deep" / "0.png").read_bytes())
    first = await run("import", pictures, "--url", api_url, "--tag", "a", "--tag", "b", "--category", "c", "--json")
    assert first.status == 1
    assert {name: first.data[name] for name in ("found", "skipped", "accepted", "duplicates")} == {
        "found": 62,
        "skipped": 0,
        "accepted": 60,
        "duplicates": 1,
    }
    assert [(Path(file["path"]).name, file["code"]) for file in first.data["rejected"]] == [
        ("notes.txt", "unsupported_media")
    ]
    assert len(await statuses(database)) == 60
    async with database.begin() as session:
        described = await session.execute(text("SELECT DISTINCT tags, category FROM images"))
        assert [tuple(row) for row in described] == [(["a", "b"], "c")]
    (pictures / "notes.txt").unlink()
    second = await run("import", pictures, "--url", api_url)
    assert (second.status, "61 sent by an earlier run" in second.out) == (0, True)


async def test_import_can_wait_and_fails_for_what_failed(
    run: Run, api_url: str, database: Database, pictures: Path
) -> None:
    assert (await run("import", pictures, LIKENESS_URL=api_url)).status == 0
    async with database.begin() as session:
        await session.execute(text("UPDATE images SET status = 'done'"))
    assert (await run("import", pictures, "--wait", LIKENESS_URL=api_url)).status == 0
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET status = 'error', error_code = 'image_corrupt' WHERE filename = '7.png'")
        )
    ran = await run("import", pictures, "--wait", "--json", LIKENESS_URL=api_url)
    assert ran.status == 1
    assert [(Path(file["path"]).name, file["code"]) for file in ran.data["failed"]] == [("7.png", "image_corrupt")]


async def test_import_to_a_folder_that_is_not_there_fails_plainly(run: Run, api_url: str, pictures: Path) -> None:
    ran = await run("import", pictures, "--url", api_url, "--folder", uuid4())
    assert ran.status == 1
    assert "there is no folder" in ran.err
    assert "0 of 60 files" in ran.err


async def test_import_without_an_api_is_3_and_a_folder_that_is_not_there_2(run: Run, pictures: Path) -> None:
    ran = await run("import", pictures, "--url", "http://127.0.0.1:1")
    assert (ran.status, ran.out) == (3, "")
    assert "http://127.0.0.1:1" in ran.err
    assert (await run("import", pictures / "nowhere")).status == 2


async def test_import_that_cannot_write_its_journal_says_so(run: Run, api_url: str, pictures: Path) -> None:
    ran = await run("import", pictures, "--url", api_url, "--journal", pictures)
    assert ran.status == 1
    assert str(pictures) in ran.err


async def test_ctrl_c_stops_an_import_and_says_how_to_go_on(environment: dict[str, str], pictures: Path) -> None:
    """Run as a process of its own, against an API that takes uploads and never answers."""
    uploading = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET /health "):
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"status":"alive"}')
        else:
            uploading.set()
            await reader.read()  # until the client goes away
        writer.close()

    listener = socket.create_server((LOOPBACK, 0))
    server = await asyncio.start_server(serve, sock=listener)
    arguments = ["import", str(pictures), "--url", f"http://{LOOPBACK}:{listener.getsockname()[1]}"]
    async with server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from worker.cli import app; app()",
            *arguments,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await uploading.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert err.decode().splitlines()[-2:] == [
        "Interrupted.",
        "0 of 60 files are dealt with. The same command goes on from there.",
    ]
