"""Text and JSON that PostgreSQL can hold: no NUL, no lone surrogates, no NaN."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

_MAX_DEPTH = 32


def check_text(text: str) -> str:
    """Refuse what is no storable Unicode text."""
    if "\0" in text:
        raise ValueError("NUL characters can't be stored")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("lone surrogates are no text") from error
    return text


def check_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse JSON objects that can't be stored, or are nested deeper than answers can be written."""
    for text in _texts(value, _MAX_DEPTH):
        check_text(text)
    json.dumps(value, allow_nan=False)
    return value


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth == 0:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        if isinstance(value, dict):
            yield from value
            value = value.values()
        for item in value:
            yield from _texts(item, depth - 1)


STORABLE = AfterValidator(check_text)
"""Goes after the other constraints of a text, which may change it."""

Text = Annotated[str, STORABLE]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]
