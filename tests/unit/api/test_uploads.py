"""Multipart bodies as clients, browsers and proxies send them: what they hold is what is received."""

import hashlib
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InvalidInput
from tests.fixtures.multipart import BOUNDARY, SPOOLED, body_of, field_part, file_part, receive


async def test_files_and_fields_come_in_the_order_they_were_sent() -> None:
    received = await receive(
        body_of(
            field_part("title", b"Oxford"),
            file_part(b"one", "1.png"),
            field_part("tags", b"shoes"),
            file_part(SPOOLED, "2.png"),
            field_part("tags", "büffel".encode()),
        )
    )
    assert received.fields == {"title": ["Oxford"], "tags": ["shoes", "büffel"]}
    assert received.names == ["1.png", "2.png"]
    assert received.contents == [b"one", SPOOLED]
    assert [file.size for file in received.files] == [3, len(SPOOLED)]
    assert [file.sha256 for file in received.files] == [hashlib.sha256(data).hexdigest() for data in received.contents]
    assert not any(file.too_large for file in received.files)


# Content that looks like what surrounds it is what parsers trip over.
CONTENTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"--", b"\r\n--", BOUNDARY.encode()[:4], b"\0", b"\xff", b"data"]), max_size=12
).map(b"".join)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(contents=st.lists(CONTENTS, max_size=4), value=CONTENTS.filter(lambda raw: b"\xff" not in raw), data=st.data())
async def test_chunks_may_end_anywhere(contents: list[bytes], value: bytes, data: st.DataObject) -> None:
    parts = [file_part(content, f"{number}.png") for number, content in enumerate(contents)]
    body = body_of(*parts, field_part("note", value))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    received = await receive(*chunks)
    assert received.contents == contents
    assert received.fields == {"note": [value.decode()]}
    assert [file.sha256 for file in received.files] == [hashlib.sha256(content).hexdigest() for content in contents]


async def test_chunks_of_one_byte() -> None:
    body = body_of(file_part(b"\r\n--front", "ä.png"), field_part("tags", b"\r\n"))
    received = await receive(*(body[at : at + 1] for at in range(len(body))))
    assert received.contents == [b"\r\n--front"]
    assert received.names == ["ä.png"]
    assert received.fields == {"tags": ["\r\n"]}


@settings(derandomize=True, deadline=None, max_examples=200)
@given(body=st.binary(max_size=300) | CONTENTS, chunk=st.integers(1, 50))
async def test_no_body_is_worse_than_invalid(body: bytes, chunk: int) -> None:
    for whole in (body, f"--{BOUNDARY}\r\n".encode() + body, body_of(file_part(b"a")) + body):
        with suppress(InvalidInput):  # any other error fails the test
            await receive(*(whole[at : at + chunk] for at in range(0, len(whole), chunk)))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("shoe.jpg", "shoe.jpg"),
        ("/etc/passwd", "passwd"),
        ("../../shoe.jpg", "shoe.jpg"),
        ("C:\\\\fakepath\\\\shoe.jpg", "shoe.jpg"),
        ("C:\\fakepath\\shoe.jpg", "shoe.jpg"),
        ("folder\\shoe.jpg", "shoe.jpg"),
        ("schöne schuhe 👞.jpg", "schöne schuhe 👞.jpg"),
        ("tab\tand\0null\x1b[31m.jpg", "tabandnull[31m.jpg"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("semi;colon, comma=.jpg", "semi;colon, comma=.jpg"),
        ('a \\"quoted\\" name.jpg', 'a "quoted" name.jpg'),
        ("x" * 300 + ".jpg", "x" * 255),
        ("", "unnamed"),
        ("\x01\x02", "unnamed"),
        ("folder/", "unnamed"),
    ],
)
async def test_a_files_name_is_its_own_and_can_be_shown(sent: str, kept: str) -> None:
    received = await receive(body_of(file_part(b"a", sent)))
    assert received.names == [kept]
    assert received.contents == [b"a"]


async def test_a_name_that_is_not_utf8_is_still_a_name() -> None:
    body = body_of(file_part(b"a", "NAME.png")).replace(b"NAME", b"\xe4\xff")
    assert (await receive(body)).names == ["\ufffd\ufffd.png"]


async def test_the_extended_name_that_forms_may_not_use_is_ignored() -> None:
    head = f'Content-Disposition: form-data; name="file"; filename="plain.png"; filename*=UTF-8\'\'{quote("ä/b")}.png'
    assert (await receive(body_of((head, b"a")))).names == ["plain.png"]


async def test_an_empty_file_is_a_file() -> None:
    received = await receive(body_of(file_part(b"")))
    assert received.contents == [b""]
    assert received.files[0].sha256 == hashlib.sha256(b"").hexdigest()


async def test_a_form_may_be_empty() -> None:
    received = await receive(f"--{BOUNDARY}--\r\n".encode())
    assert (received.files, received.fields) == ([], {})


async def test_what_stands_before_and_after_the_form_is_no_part_of_it() -> None:
    received = await receive(body_of(file_part(b"a")) + b"epilogue\r\n--frontier--")
    assert received.contents == [b"a"]
