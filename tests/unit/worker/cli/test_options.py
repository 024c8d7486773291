from datetime import timedelta

import pytest
import typer

from worker.cli.options import parse_span
from worker.cli.status import duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        (" 2h ", timedelta(hours=2)),
        ("7 d", timedelta(days=7)),
        ("1w", timedelta(weeks=1)),
        ("9" * 400 + "d", timedelta(days=365_000)),
        ("400000d", timedelta(days=365_000)),
    ],
)
def test_time_spans(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-2h", "2h30m", "1.5h"])
def test_what_is_no_time_span(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="90s"):
        parse_span(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_661, "1 h 1 min"), (90_000, "1 d 1 h"), (86_405, "1 d 5 s")],
)
def test_durations_are_said_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
