"""`Range`, `If-Range` and `If-None-Match` headers, by the cases of RFC 9110."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from api.conditions import Conditions, parse_range

SIZE = 10_000


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        # RFC 9110, 14.1.2, for a representation of 10000 bytes
        ("bytes=0-499", 0, 499),
        ("bytes=500-999", 500, 999),
        ("bytes=-500", 9500, 9999),
        ("bytes=9500-", 9500, 9999),
        ("bytes=0-0", 0, 0),
        ("bytes=-1", 9999, 9999),
        ("bytes=9999-9999", 9999, 9999),
        # "If the last-pos value is absent, or is greater than or equal to the current length", the rest is meant
        ("bytes=9990-20000", 9990, 9999),
        ("bytes=0-", 0, 9999),
        # "If the selected representation is shorter than the specified suffix-length, the entire one is used"
        ("bytes=-20000", 0, 9999),
        (" bytes=0-499 ", 0, 499),
    ],
)
def test_ranges_that_can_be_met(header: str, first: int, last: int) -> None:
    assert parse_range(header, SIZE) == range(first, last + 1)


@pytest.mark.parametrize("header", ["bytes=10000-", "bytes=10000-10001", "bytes=20000-30000", "bytes=-0"])
def test_ranges_that_can_not_be_met(header: str) -> None:
    span = parse_range(header, SIZE)
    assert span is not None
    assert not span


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-499,600-700",
        "bytes=0-499,",
        "bytes=--5",
        "bytes=0x0-0x9",
        "bytes=+1-5",
        "bytes=1.5-2",
        "items=0-5",
        "0-499",
        "bytes=0-499; q=1",
        "bytes=\u0663-\u0664",
        "bytes=0-" + "9" * 5_000,
        "bytes=" + "9" * 5_000 + "-",
        "bytes=-" + "9" * 5_000,
    ],
)
def test_what_is_not_understood_never_fails_the_request(header: str | None) -> None:
    """The standard lets a server ignore it; a huge number may also be taken for what it says."""
    span = parse_range(header, SIZE)
    assert span is None or span.stop <= SIZE


def test_an_inverted_range_is_invalid_and_ignored() -> None:
    assert parse_range("bytes=5-2", SIZE) is None


@settings(derandomize=True)
@given(first=st.integers(0, 30), last=st.integers(0, 30) | st.none(), size=st.integers(1, 20))
def test_a_span_is_always_within_the_content(first: int, last: int | None, size: int) -> None:
    assume(last is None or last >= first)
    span = parse_range(f"bytes={first}-{'' if last is None else last}", size)
    assert span is not None
    expected = [at for at in range(size) if at >= first and (last is None or at <= last)]
    assert list(span) == expected


@settings(derandomize=True)
@given(suffix=st.integers(0, 30), size=st.integers(1, 20))
def test_a_suffix_is_the_end_of_the_content(suffix: int, size: int) -> None:
    span = parse_range(f"bytes=-{suffix}", size)
    assert span is not None
    assert list(span) == list(range(size))[max(0, size - suffix) :]


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ('"abc"', True),
        ('W/"abc"', True),  # weak comparison, RFC 9110, 13.1.2
        ('"x", "abc"', True),
        ('"x","abc" , W/"y"', True),
        ("*", True),
        ('"abcd"', False),
        ("abc", False),
        ("", False),
        (None, False),
    ],
)
def test_if_none_match(header: str | None, matches: bool) -> None:
    assert Conditions(if_none_match=header).has_it_already('"abc"') is matches


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (None, True),
        ('"abc"', True),
        ('W/"abc"', False),  # strong comparison, RFC 9110, 13.1.5
        ('"abcd"', False),
        ('"abc", "x"', False),  # one tag, no list
        ("*", False),
        ("", False),
        ("Tue, 15 Nov 1994 12:45:26 GMT", False),  # we give no dates, so none is right
    ],
)
def test_if_range(header: str | None, holds: bool) -> None:
    span = Conditions(if_range=header, asked_range="bytes=0-4").wanted('"abc"', SIZE)
    assert span == (range(5) if holds else None)


def test_a_range_that_is_not_the_versions_can_not_be_unmet() -> None:
    assert Conditions(if_range='"old"', asked_range=f"bytes={SIZE}-").wanted('"abc"', SIZE) is None


def test_only_get_has_ranges() -> None:
    """RFC 9110, 14.2: a server ignores the header in other requests."""
    assert Conditions(method="HEAD", asked_range="bytes=0-4").wanted('"abc"', SIZE) is None
