"""Multipart bodies that are too large, broken, or cut off: what is refused, and that nothing is left behind."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from starlette.requests import ClientDisconnect

from api.settings import UploadSettings
from api.uploads import receive_form
from common.errors import ImageTooLarge, InvalidInput, StorageUnavailable, UnsupportedMedia
from tests.fixtures.multipart import (
    BOUNDARY,
    LIMITS,
    SPOOLED,
    Part,
    body_of,
    field_part,
    file_part,
    receive,
    refused,
    request_of,
)


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """Every spool that is made from now on."""
    made: list[IO[bytes]] = []
    create = tempfile.SpooledTemporaryFile

    def remember(*args: Any, **kwargs: Any) -> IO[bytes]:
        made.append(create(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", remember)
    return made


@pytest.mark.parametrize("too_large", [0, 1, 2])
async def test_a_file_too_large_is_marked_and_its_neighbours_are_intact(too_large: int) -> None:
    limits = UploadSettings(max_file_bytes=300_000, max_files=5, max_request_bytes=3_000_000)
    contents = [b"a" * 300_000, b"b" * 299_999, b"c"]
    contents[too_large] = b"!" * 300_001
    body = body_of(*map(file_part, contents))
    received = await receive(*(body[at : at + 64_000] for at in range(0, len(body), 64_000)), limits=limits)
    assert [file.too_large for file in received.files] == [at == too_large for at in range(3)]
    assert received.files[too_large].size == 300_001
    assert received.contents[too_large] == b"", "its bytes take no room"
    assert [received.contents[at] for at in range(3) if at != too_large] == [
        contents[at] for at in range(3) if at != too_large
    ]


async def test_a_request_that_says_it_is_too_large_is_refused_unread() -> None:
    error = await refused(b"never read", content_length=LIMITS.max_request_bytes + 1)
    assert isinstance(error, ImageTooLarge)
    assert error.code == "request_too_large"


@pytest.mark.parametrize("claimed", [None, 10])
async def test_a_request_that_turns_out_too_large_is_refused(claimed: int | None, spools: list[IO[bytes]]) -> None:
    def chunks() -> Iterator[bytes]:
        yield body_of(file_part(b"a" * 100))[:-50]
        for _ in range(100):
            yield b"x" * 100_000

    error = await refused(*chunks(), content_length=claimed)
    assert error.code == "request_too_large"
    assert [spool.closed for spool in spools] == [True]


async def test_a_request_of_exactly_the_allowed_size_is_taken() -> None:
    body = body_of(file_part(b"a" * 1000))
    limits = UploadSettings(max_request_bytes=len(body))
    assert (await receive(body, limits=limits, content_length=len(body))).contents == [b"a" * 1000]
    limits = UploadSettings(max_request_bytes=len(body) - 1)
    assert (await refused(body, limits=limits)).code == "request_too_large"


async def test_as_many_files_as_allowed_and_no_more() -> None:
    assert len((await receive(body_of(*[file_part(b"a")] * 5))).files) == 5
    error = await refused(body_of(*[file_part(b"a")] * 6))
    assert isinstance(error, ImageTooLarge)
    assert error.code == "too_many_files"


async def test_as_many_fields_as_allowed_and_no_more() -> None:
    assert len((await receive(body_of(*[field_part("tags", b"a")] * 200))).fields["tags"]) == 200
    error = await refused(body_of(*[field_part("tags", b"a")] * 201))
    assert isinstance(error, InvalidInput)
    assert error.code == "too_many_fields"


async def test_a_field_as_long_as_allowed_and_no_longer() -> None:
    assert (await receive(body_of(field_part("note", b"a" * 65_536)))).fields == {"note": ["a" * 65_536]}
    assert isinstance(await refused(body_of(field_part("note", b"a" * 65_537))), InvalidInput)


async def test_a_field_is_utf8() -> None:
    assert isinstance(await refused(body_of(field_part("note", b"\xff"))), InvalidInput)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/mixed; boundary=x", "image/png", " ", "§"])
async def test_what_is_no_form_is_not_a_supported_medium(content_type: str) -> None:
    error = await refused(b"{}", content_type=content_type)
    assert isinstance(error, UnsupportedMedia)
    assert error.code == "multipart_expected"


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; charset=utf-8",
        f"multipart/form-data; boundary={'b' * 300}",
    ],
)
async def test_a_form_names_its_boundary(content_type: str) -> None:
    error = await refused(body_of(file_part(b"a")), content_type=content_type)
    assert isinstance(error, InvalidInput)
    assert error.code == "malformed_multipart"


@pytest.mark.parametrize(
    "content_type",
    [
        f"Multipart/Form-Data; boundary={BOUNDARY}",
        f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"',
        f"multipart/form-data;boundary={BOUNDARY}",
    ],
)
async def test_the_content_type_may_be_spelled_otherwise(content_type: str) -> None:
    assert (await receive(body_of(file_part(b"a")), content_type=content_type)).contents == [b"a"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a form at all",
        body_of(file_part(b"a"))[:-4],
        body_of(file_part(b"a"))[:40],
        body_of(file_part(b"a")).replace(b"--frontier--", b"--border--"),
        body_of(("Content-Type: image/png", b"a")),
        body_of(("Content-Disposition: form-data", b"a")),
        body_of(('Content-Disposition: form-data; filename="a.png"', b"a")),
        body_of(("Content Disposition", b"a")),
        body_of(("", b"a")),
    ],
)
async def test_a_broken_form_is_invalid_and_leaves_nothing(body: bytes, spools: list[IO[bytes]]) -> None:
    error = await refused(body)
    assert isinstance(error, InvalidInput)
    assert error.code == "malformed_multipart"
    assert all(spool.closed for spool in spools)


@pytest.mark.parametrize(
    "bomb",
    [
        (f"X-Long: {'a' * 100_000}\r\n" + file_part(b"")[0], b"a"),
        ("a" * 100_000 + ": x", b"a"),
        ("\r\n".join(f"X-{number}: x" for number in range(10_000)), b"a"),
        ("\r\n".join(f"X-{number}: {'a' * 4000}" for number in range(3)), b"a"),
        (f'Content-Disposition: form-data; name="{"a" * 100_000}"', b"a"),
    ],
)
async def test_header_bombs_are_defused(bomb: Part) -> None:
    body = body_of(bomb)
    error = await refused(*(body[at : at + 500] for at in range(0, len(body), 500)))
    assert error.code == "malformed_multipart"


@pytest.mark.parametrize("end", [0, 50, 200_000, 300_000])
async def test_a_client_that_goes_away_leaves_nothing(end: int, spools: list[IO[bytes]]) -> None:
    body = body_of(file_part(SPOOLED), file_part(SPOOLED))
    with pytest.raises(ClientDisconnect):
        await receive(body[:end], cut=True)
    assert all(spool.closed for spool in spools)


async def test_files_are_gone_when_the_request_ends_however_it_ends(spools: list[IO[bytes]]) -> None:
    async def handle() -> None:
        async with receive_form(request_of([body_of(file_part(b"a"), file_part(SPOOLED))]), LIMITS):
            assert [spool.closed for spool in spools] == [False, False]
            raise KeyError("the handler failed")

    with pytest.raises(KeyError):
        await handle()
    assert [spool.closed for spool in spools] == [True, True]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every temporary file be on a disk that has no room left."""

    def open_full(*_args: object, **_kwargs: object) -> IO[bytes]:
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", open_full)


@pytest.mark.parametrize("sizes", [[256 * 1024 + 1], [10, 256 * 1024 + 10, 10], [999_999]])
@pytest.mark.parametrize("chunk", [1_000, 64_000, 3_000_000])
async def test_a_full_disk_is_an_outage(full_disk: None, sizes: Sequence[int], chunk: int) -> None:
    body = body_of(*(file_part(b"x" * size) for size in sizes))
    error = await refused(*(body[at : at + chunk] for at in range(0, len(body), chunk)))
    assert isinstance(error, StorageUnavailable)
    assert error.code == "spool_unavailable"


async def test_a_small_file_needs_no_disk(full_disk: None) -> None:
    assert (await receive(body_of(file_part(b"x" * 1000)))).contents == [b"x" * 1000]
