"""The search use cases as requests ask for them: what is answered goes into the search log."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from api.examples import A_PICTURE, Example
from api.paging import Window
from api.search_log import SearchLog
from api.similarity import Results, Similarity
from common.db.searches import Kind, NewSearch
from common.settings import SearchLogSettings
from common.vectors.base import AnyOf, Between, During, Equals, Filter

_ACCEPTABLE_SESSION = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MAX_FILTER_CHARS = 4_000
_FILTERS = tuple(field.name for field in fields(Filter) if field.name != "owner_id")


class LoggedSimilarity:
    """Similarity, as one request has it."""

    def __init__(
        self, similarity: Similarity, log: SearchLog, settings: SearchLogSettings, session: str | None
    ) -> None:
        """Wrap the process's one; `session` is what the client says, and not noted if it is no short plain word."""
        self._similarity = similarity
        self._log = log
        self._settings = settings
        self._session = session if session and _ACCEPTABLE_SESSION.fullmatch(session) else None

    async def by_examples(self, examples: Sequence[Example], wanted: Filter, window: Window) -> Results:
        """See `Similarity`."""
        started = time.perf_counter()
        results = await self._similarity.by_examples(examples, wanted, window)
        self._note_soon(examples, wanted, window, results, started)
        return results

    async def by_picture(self, data: bytes, sha256: str, wanted: Filter, window: Window) -> Results:
        """See `Similarity`."""
        started = time.perf_counter()
        results = await self._similarity.by_picture(data, sha256, wanted, window)
        self._note_soon(A_PICTURE, wanted, window, results, started)
        return results

    def _note_soon(
        self, examples: Sequence[Example], wanted: Filter, window: Window, results: Results, started: float
    ) -> None:
        """Have it noted in the loop's next turn: an answer that has nothing to wait for any more is out by then."""
        if self._settings.enabled:
            ms = round((time.perf_counter() - started) * 1000, 3)
            asyncio.get_running_loop().call_soon(self._note, examples, wanted, window, results, ms)

    def _note(self, examples: Sequence[Example], wanted: Filter, window: Window, results: Results, ms: float) -> None:
        text = next((example.of for example in examples if isinstance(example.of, str)), None)
        self._log.note(
            NewSearch(
                owner_id=wanted.owner_id,
                session=self._session,
                kind=_kind_of(examples),
                text=text and _storable(text[: self._settings.text_chars]),
                image_id=next((example.of for example in examples if isinstance(example.of, UUID)), None),
                filters=describe(wanted, window.min_score),
                depth=window.seen.count if window.seen else 0,
                found=len(results.ranked),
                ms=ms,
                model=results.label,
                trial=results.trial,
            )
        )


def _kind_of(examples: Sequence[Example]) -> Kind:
    match examples:
        case []:
            return "picture"
        case [Example(of=str(), weight=weight)] if weight > 0:
            return "text"
        case [Example(of=UUID(), weight=weight)] if weight > 0:
            return "image"
    return "examples"


def describe(wanted: Filter, min_score: float | None) -> dict[str, Any]:
    """Return what results are filtered by, as plain JSON; whose images they are is said elsewhere."""
    given = {name: getattr(wanted, name) for name in _FILTERS}
    described: dict[str, Any] = _plain(
        given | {"include_hidden": wanted.include_hidden or None, "min_score": min_score}
    )
    # Filters may be long, and the log is no archive of them.
    return described if len(json.dumps(described)) <= _MAX_FILTER_CHARS else {"too_long": True}


def _plain(value: Any) -> Any:
    """Leave out what is not given, and spell what JSON has no word for."""
    match value:
        case dict():
            return {name: _plain(item) for name, item in value.items() if item not in (None, (), [])}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Equals() | AnyOf() | Between() | During():
            return _plain(asdict(value))
        case bool() | int() | float():
            return value
    return str(value)


def _storable(text: str) -> str:
    """Replace what PostgreSQL can't hold as text."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
