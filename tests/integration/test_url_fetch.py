"""Fetching from URLs that strangers name, from a real server: what is received, and where nobody gets us to go."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing

import pytest

from common.errors import DownloadFailed, ImageRejected, LikenessError, StorageUnavailable, UrlRefused
from common.received import ReceivedFile
from tests.fixtures.sites import HERE, NAME, Site, Town, answer, endless, redirect, running_site
from worker.url_fetch import Fetcher, Internet, Network

BODY = b"the bytes of a picture" * 5000
LIMIT = 200_000
PATIENCE_S = 60.0
SHORT_S = 0.5
"""For what never ends by itself."""

ELSEWHERE = "169.254.169.254"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site({"/a.png": answer(BODY)}) as running:
        yield running


async def fetch(network: Network, url: str = f"http://{NAME}/a.png", timeout_s: float = PATIENCE_S) -> ReceivedFile:
    with closing(ReceivedFile.open("a.png")) as file:
        await Fetcher(network, timeout_s).fetch(url, file, LIMIT)
        file.content.seek(0)
        assert file.too_large or file.content.read() == BODY
        return file


async def failure(
    kind: type[LikenessError], network: Network, url: str = f"http://{NAME}/a.png", timeout_s: float = PATIENCE_S
) -> LikenessError:
    """Fetch what must fail; return how."""
    with pytest.raises(kind) as caught:
        await fetch(network, url, timeout_s)
    assert type(caught.value) is kind
    return caught.value


async def test_a_file_is_received_and_asked_for_politely(site: Site) -> None:
    town = Town(site)
    file = await fetch(town.network, f"http://{NAME}./a.png?size=large&token=t#part")
    assert (file.size, file.too_large, len(file.sha256)) == (len(BODY), False, 64)
    (request,) = site.requests
    line, *headers = request.rstrip().split("\r\n")
    assert line == "GET /a.png?size=large&token=t HTTP/1.1"
    shown = {name.lower(): text for name, text in (header.split(": ", 1) for header in headers)}
    assert shown.pop("user-agent") == "Likeness"
    assert shown == {"host": NAME, "accept": "image/*", "accept-encoding": "identity", "connection": "close"}
    assert town.dialled == [HERE]


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 404, 410, 451])
async def test_a_no_is_final(site: Site, status: int) -> None:
    site.pages["/a.png"] = answer(status=status)
    error = await failure(ImageRejected, Town(site).network)
    assert (error.code, str(status) in str(error)) == ("download_failed", True)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_trouble_may_pass(site: Site, status: int) -> None:
    site.pages["/a.png"] = answer(status=status)
    error = await failure(DownloadFailed, Town(site).network)
    assert (error.code, str(status) in str(error)) == ("download_failed", True)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


SLOW = {
    "a body that drips": endless(b"x", pause_s=0.02),
    "a body that stops": endless(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", pause_s=0.02),
    "headers that drip": endless(b"X-A: b\r\n", b"HTTP/1.1 200 OK\r\n", pause_s=0.02),
    "answers before the answer": endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"", pause_s=0.02),
    "silence": say_nothing,
}


@pytest.mark.parametrize("kind", SLOW)
async def test_one_deadline_covers_it_all(site: Site, kind: str) -> None:
    site.pages["/a.png"] = SLOW[kind]
    assert "longer than 0.5 s" in str(await failure(DownloadFailed, Town(site).network, timeout_s=SHORT_S))


async def test_the_deadline_covers_the_name_server_too(site: Site) -> None:
    async def never(host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    network = Town(site).network
    slow = Network(never, network.open, network.admits)
    assert "longer than 0.5 s" in str(await failure(DownloadFailed, slow, timeout_s=SHORT_S))


BROKEN = {
    "nothing": hang_up,
    "no HTTP": endless(b"", b"220 mail.example ESMTP\r\n\r\n"),
    "a body shorter than it says": answer(BODY, Content_Length=str(len(BODY) + 1)),
    "headers without end": endless(b"X-A: b\r\n" * 1000, b"HTTP/1.1 200 OK\r\n"),
    "a length that is none": answer(BODY, Content_Length="many"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_answer_may_be_better_the_next_time(site: Site, kind: str) -> None:
    site.pages["/a.png"] = BROKEN[kind]
    assert "broke off" in str(await failure(DownloadFailed, Town(site).network))


LARGE = {
    "says so": answer(b"", Content_Length=str(LIMIT + 1)),
    "does not say so": endless(b"x" * 10_000),
    "has no end, in chunks": endless(
        b"2710\r\n" + b"x" * 10_000 + b"\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
}


@pytest.mark.parametrize("kind", LARGE)
async def test_what_is_too_large_is_not_read_to_its_end(site: Site, kind: str) -> None:
    site.pages["/a.png"] = LARGE[kind]
    file = await fetch(Town(site).network)
    assert file.too_large
    assert file.size < 2 * LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip", "x-unheard-of"])
async def test_nothing_compressed_is_taken(site: Site, encoding: str) -> None:
    site.pages["/a.png"] = answer(BODY, Content_Encoding=encoding)
    assert (await failure(ImageRejected, Town(site).network)).code == "download_failed"


async def test_three_redirects_are_followed_and_no_fourth(site: Site) -> None:
    statuses = (301, 302, 303, 307, 308)
    for number, status in enumerate(statuses):
        site.pages[f"/{number}"] = redirect(f"/{number + 1}", status)
    site.pages["/5"] = site.pages["/a.png"]
    town = Town(site)
    await fetch(town.network, f"http://{NAME}/2")
    assert town.looked_up == [NAME] * 4, "each is looked up anew"
    assert "redirects" in str(await failure(ImageRejected, town.network, f"http://{NAME}/1"))
    site.pages["/loop"] = redirect("/loop")
    assert (await failure(ImageRejected, town.network, f"http://{NAME}/loop")).code == "download_failed"


async def test_a_redirect_takes_no_cookie_along(site: Site) -> None:
    site.pages["/first"] = answer(status=302, Location="/a.png", Set_Cookie="session=1; Path=/")
    await fetch(Town(site).network, f"http://{NAME}/first")
    assert "cookie" not in site.requests[1].lower()


@pytest.mark.parametrize(
    "location",
    [
        "http://inside.example/",
        "//inside.example/a.png",
        f"http://{ELSEWHERE}/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]/",
        f"http://{NAME}:8080/",
        f"http://someone:secret@{NAME}/a.png",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://[::1/",
    ],
)
async def test_a_redirect_leads_nowhere_that_the_url_could_not(site: Site, location: str) -> None:
    site.pages["/first"] = redirect(location)
    town = Town(
        site, {"inside.example": [["10.1.2.3"]], ELSEWHERE: [[ELSEWHERE]], "10.0.0.1": [["10.0.0.1"]], "::1": [["::1"]]}
    )
    error = await failure(UrlRefused, town.network, f"http://{NAME}/first")
    assert (error.code, "secret" in str(error)) == ("url_refused", False)
    assert town.dialled == [HERE], "the first request alone"


async def test_a_redirect_without_a_location_leads_in_circles_for_a_while(site: Site) -> None:
    site.pages["/a.png"] = answer(status=302)
    assert (await failure(ImageRejected, Town(site).network)).code == "download_failed"


async def test_a_name_that_answers_otherwise_the_next_time_gains_nothing(site: Site) -> None:
    """Rebinding: what was checked is what is connected to, and a redirect to the same name is checked again."""
    site.pages["/again"] = redirect(f"http://{NAME}/a.png")
    town = Town(site, {NAME: [[HERE], [ELSEWHERE]]})
    await fetch(town.network)
    assert (town.looked_up, town.dialled) == ([NAME], [HERE])
    town = Town(site, {NAME: [[HERE], [ELSEWHERE]]})
    await failure(UrlRefused, town.network, f"http://{NAME}/again")
    assert (town.looked_up, town.dialled) == ([NAME, NAME], [HERE])


@pytest.mark.parametrize("addresses", [[HERE, "10.0.0.1"], ["::1", HERE], ["93.184.216.34", "fd00::1"], []])
async def test_one_address_inside_is_too_many(site: Site, addresses: list[str]) -> None:
    town = Town(site, {NAME: [addresses]})
    assert NAME in str(await failure(UrlRefused, town.network))
    assert town.dialled == []


async def test_an_unknown_name_may_be_known_later(site: Site) -> None:
    error = await failure(DownloadFailed, Town(site).network, "http://unheard-of.example/")
    assert str(error) == "unheard-of.example can't be found"


async def test_the_next_address_is_tried_when_one_does_not_connect(site: Site) -> None:
    town = Town(site, {NAME: [["127.0.0.2", HERE]]})
    network = Network(town.network.resolve, town.network.open, lambda address: address.startswith("127."))
    await fetch(network)
    assert town.dialled == ["127.0.0.2", HERE]


async def test_a_full_disk_is_our_own_trouble(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(file: ReceivedFile, piece: bytes, max_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ReceivedFile, "write", write)
    assert (await failure(StorageUnavailable, Town(site).network)).code == "spool_unavailable"


async def test_certificates_are_those_of_the_name() -> None:
    async with running_site({"/a.png": answer(BODY)}, tls=True) as site:
        town = Town(site, {"other.example": [[HERE]]})
        await fetch(town.network, f"https://{NAME}/a.png")
        assert town.dialled == [HERE]
        await failure(DownloadFailed, town.network, "https://other.example/a.png")
        assert len(site.requests) == 1


@pytest.fixture
def internet() -> Iterator[Internet]:
    """The real thing; what these tests ask for needs no name server."""
    opened = Internet(2)
    yield opened
    opened.close()


INSIDE = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1",
    "127.0.0.1.", "localhost", "localhost.", "LOCALHOST", "0.0.0.0", "0", "10.0.0.1", "0xa000001", "167772161",  # noqa: S104
    "172.16.0.1", "192.168.1.1", "192.168.257", "100.64.0.1", "169.254.169.254", "0xa9fea9fe", "2852039166",
    "0251.0376.0251.0376", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]", "[fd00:ec2::254]", "[ff02::1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "127。0。0。1",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
async def test_no_notation_leads_inside(internet: Internet, host: str) -> None:
    await failure(UrlRefused, internet.network, f"http://{host}/")


async def test_the_environments_proxy_is_not_asked(
    site: Site, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{HERE}:{site.port}")
    network = Network(internet.network.resolve, internet.network.open, lambda address: address == HERE)
    with pytest.raises(LikenessError):  # nothing of ours listens on port 80
        await fetch(network, f"http://{HERE}/there-is-no-such-page", SHORT_S)
    assert site.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_what_is_inside_is_not_even_connected_to(site: Site, internet: Internet, host: str) -> None:
    network = Network(internet.network.resolve, Town(site).network.open)
    await failure(UrlRefused, network, f"http://{host}/a.png")
    assert site.requests == []
