"""Options that several commands have, as annotated types."""

import re
from datetime import timedelta
from typing import Annotated

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d+)\s*([smhdw])")
_LONGEST = timedelta(days=365_000)


def parse_span(text: str) -> timedelta:
    """Read a time span: a number and one of s, m, h, d, w.

    Raises:
        typer.BadParameter: it is something else.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no time span like 90s, 30m, 2h or 7d")
    try:
        span = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        span = _LONGEST
    return min(span, _LONGEST)


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
