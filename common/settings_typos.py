"""Names that are nobody's setting. A setting that is spelled wrong must not be passed over in silence."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic_settings import BaseSettings

from common.known_settings import KNOWN
from common.settings_reference import names

_DELIMITER: Final = "__"

_THEIRS: Final = "QDRANT"
"""The one group whose name a store's own variables begin with, too (`QDRANT__SERVICE__API_KEY`)."""
_ALIKE: Final = 0.6

Typo = tuple[str, str]
"""A name as it is written, and what is wrong with it."""


def find_names(given: Iterable[str], settings_cls: type[BaseSettings]) -> Iterator[Typo]:
    """Return those environment variables that belong to a group of ours, but are no service's setting.

    What a setting that is an object is given member by member (`SEARCH__ATTRIBUTES__PRICE`) is left to that setting,
    and what may be meant for Qdrant itself to Qdrant: there, only what is nearly a setting of ours counts as a typo.
    """
    known = KNOWN | names(settings_cls)
    groups = {name.partition(_DELIMITER)[0] for name in known}
    for name in map(str.upper, given):
        group, *keys = name.split(_DELIMITER)
        if not keys or group not in groups or f"{group}{_DELIMITER}{keys[0]}" in known:
            continue
        if group != _THEIRS or _resembles(keys[0], group, known):
            yield _without_value(name), "there is no such setting" + _hint(name, known)


def _resembles(key: str, group: str, known: Iterable[str]) -> bool:
    ours = [name.removeprefix(group + _DELIMITER) for name in known if name.startswith(group + _DELIMITER)]
    return bool(get_close_matches(key, ours, cutoff=_ALIKE))


def find_keys(given: Mapping[str, Any], settings_cls: type[BaseSettings]) -> Iterator[Typo]:
    """Return those groups and settings of a YAML file that are no service's."""
    known = {".".join(name.lower().split(_DELIMITER)) for name in KNOWN | names(settings_cls)}
    groups = {name.partition(".")[0] for name in known}
    for group, settings in given.items():
        if group not in groups:
            yield _without_value(str(group)), "there is no such group" + _hint(str(group), groups)
            continue
        for key in settings if isinstance(settings, Mapping) else ():
            if (name := f"{group}.{key}") not in known:
                yield _without_value(name), "there is no such setting" + _hint(name, known)


def _without_value(name: str) -> str:
    """Return what is a name of this: `secret_key:hush`, a space left out, is one key to YAML, and to `.env`."""
    return re.split(r"[^\w.-]", name, maxsplit=1)[0]


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(_without_value(name), sorted(known), n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""
