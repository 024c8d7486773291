"""URLs to import from: what is refused before anything is looked up, and what is left of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidInput
from common.source_urls import MAX_URL_CHARS, SourceUrl

REFUSED = {
    "nothing": "",
    "no scheme": "pictures.example/a.png",
    "no scheme but slashes": "//pictures.example/a.png",
    "a path": "/etc/passwd",
    "a space in front": " http://pictures.example/",
    "file": "file:///etc/passwd",
    "ftp": "ftp://pictures.example/a.png",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "data": "data:image/png;base64,AAAA",
    "javascript": "javascript:alert(1)",
    "no host": "http:///a.png",
    "a user": "http://someone@pictures.example/",
    "a user and a password": "http://someone:secret@pictures.example/",
    "a backslash before another host": "http://pictures.example\\@127.0.0.1/",
    "another port": "http://pictures.example:8080/",
    "port 0": "http://pictures.example:0/",
    "a port too large": "http://pictures.example:65616/",
    "a database": "http://pictures.example:5432/",
    "a port that is none": "http://pictures.example:80x/",
    "a control character": "http://pictures.example/a\r\nHost: other",
    "NUL": "http://pictures.example/\0",
    "a lone surrogate": "http://pictures.example/\ud800",
    "a space in the host": "http://pictures example/",
    "an encoded host": "http://%31%32%37.0.0.1/",
    "fullwidth digits": "http://\uff11\uff12\uff17.0.0.1/",
    "an empty label": "http://pictures..example/",
    "only a dot": "http://./",
    "a label too long": f"http://{'a' * 64}.example/",
    "a name too long": f"http://{'.'.join(['a' * 60] * 5)}/",
    "a zone": "http://[fe80::1%25eth0]/",
    "half an IPv6 address": "http://[::1/",
    "no IPv6 address": "http://[1::2::3]/",
    "too long": "http://pictures.example/" + "a" * MAX_URL_CHARS,
    "too long once encoded": "http://pictures.example/" + "ä" * (MAX_URL_CHARS // 4),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_url_for_us_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SourceUrl.parse(REFUSED[kind])
    assert caught.value.code == "invalid_url"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "url", "host", "authority"),
    [
        ("http://pictures.example", "http://pictures.example", "pictures.example", "pictures.example"),
        ("HTTPS://Pictures.Example:443/A?b=C#d", "https://pictures.example/A?b=C", "pictures.example", None),
        (
            "http://pictures.example:443/",
            "http://pictures.example:443/",
            "pictures.example",
            "pictures.example:443",
        ),
        ("http://pictures.example./", "http://pictures.example./", "pictures.example", "pictures.example"),
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4", "xn--bcher-kva.example", None),
        ("http://127。0。0。1/", "http://127.0.0.1/", "127.0.0.1", "127.0.0.1"),
        ("http://[2606:4700:0::1111]/a", "http://[2606:4700:0::1111]/a", "2606:4700::1111", "[2606:4700::1111]"),
        ("http://0x7f.1/", "http://0x7f.1/", "0x7f.1", "0x7f.1"),
        ("http://my_host.example/", "http://my_host.example/", "my_host.example", "my_host.example"),
    ],
)
def test_what_is_one_is_read(text: str, url: str, host: str, authority: str | None) -> None:
    source = SourceUrl.parse(text)
    assert (str(source.url), source.host) == (url, host)
    assert source.authority == (authority or host)


@pytest.mark.parametrize(
    ("path", "filename"),
    [
        ("", "unnamed"),
        ("/", "unnamed"),
        ("/a/b/shoe.jpg?size=large", "shoe.jpg"),
        ("/sch%C3%B6n.png", "schön.png"),
        ("/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("/a%00%0Ab.png", "ab.png"),
        ("/%FF.png", "\N{REPLACEMENT CHARACTER}.png"),
        ("/" + "a" * 300, "a" * 255),
    ],
)
def test_the_end_of_the_path_is_the_file_name(path: str, filename: str) -> None:
    assert SourceUrl.parse("http://pictures.example" + path).filename == filename


def test_the_address_takes_the_place_of_the_host_and_nothing_else() -> None:
    source = SourceUrl.parse("https://pictures.example/a%20b.png?x=%2F&y")
    assert str(source.at("93.184.216.34")) == "https://93.184.216.34/a%20b.png?x=%2F&y"
    assert str(source.at("2606:4700::1111")) == "https://[2606:4700::1111]/a%20b.png?x=%2F&y"
    assert str(SourceUrl.parse("http://pictures.example:443/").at("1.1.1.1")) == "http://1.1.1.1:443/"


def test_a_redirect_is_read_as_strictly() -> None:
    source = SourceUrl.parse("https://pictures.example/a/b.png?x=1")
    assert str(source.join("../c.png").url) == "https://pictures.example/c.png"
    assert source.join("//other.example/").host == "other.example"
    for location in ("http://other.example:8080/", "file:///etc/passwd", "//someone@other.example/", "http://[::1/"):
        with pytest.raises(InvalidInput):
            source.join(location)


@given(
    st.text() | st.text().map(lambda text: "http://" + text) | st.text().map(lambda text: "http://a.example/" + text)
)
def test_no_text_does_worse_than_to_be_refused(text: str) -> None:
    try:
        source = SourceUrl.parse(text)
    except InvalidInput:
        return
    assert str(source.url).isascii()
    assert source.host
    again = SourceUrl.parse(str(source.url))
    assert (again.url, again.host) == (source.url, source.host)
