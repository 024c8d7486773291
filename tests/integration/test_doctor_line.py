"""The line to a server: name, port, certificate."""

import asyncio
import socket
import ssl

import pytest

from tests.fixtures.sites import CERTIFICATE, NAME, running_site
from worker.doctor.findings import Outcome
from worker.doctor.line import examine_certificate, examine_url, reach

HERE = "127.0.0.1"


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", ask_nobody)
    finding = await reach("nowhere.invalid", 1, "STORE__URL")
    assert finding.outcome is Outcome.FAILED
    assert "can't be looked up" in finding.seen
    assert "getent hosts nowhere.invalid" in (finding.remedy or "")
    assert "container" in (finding.remedy or "")


@pytest.mark.parametrize("url", ["", "host:1", "ftp://host", "http://", "http://host:port"])
async def test_what_is_no_address(url: str) -> None:
    (finding,) = [finding async for finding in examine_url(url, "STORE__URL")]
    assert finding.seen == "STORE__URL is no address"


async def test_certificates() -> None:
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    async with running_site({}, tls=True) as site:
        stranger = await examine_certificate(HERE, site.port, "STORE__URL", ssl.create_default_context())
        of_another = await examine_certificate(HERE, site.port, "STORE__URL", trusting)
        trusting.check_hostname = False
        good = await examine_certificate(HERE, site.port, "STORE__URL", trusting)
        refused = [finding async for finding in examine_url(f"https://{HERE}:{site.port}", "STORE__URL")]
    assert "self-signed certificate" in stranger.seen
    assert "openssl s_client -connect" in (stranger.remedy or "")
    assert "not valid for" in of_another.seen
    assert good.outcome is Outcome.OK
    assert [finding.outcome for finding in refused] == [Outcome.OK, Outcome.FAILED]
    assert NAME not in refused[1].seen


async def test_a_server_without_tls() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, HERE, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        finding = await examine_certificate(HERE, port, "STORE__URL", ssl.create_default_context())
    assert finding.outcome is Outcome.FAILED
    assert "say http://" in (finding.remedy or "")
