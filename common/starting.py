"""The start of a process: settings that are wrong end it in plain words, before anything else is done."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from common.errors import ConfigurationError, SettingsInvalid
from common.settings import ServiceSettings
from common.settings_problems import invalid


@contextmanager
def ending_plainly() -> Iterator[None]:
    """End the process with status 1 and the message on stderr, where it can't be configured; nothing is logged yet."""
    try:
        yield
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


def check_settings(*kinds: type[ServiceSettings], above: Mapping[str, str | None] | None = None) -> None:
    """Read all that the parts of a process read, each on its own later, so that all problems are told at once.

    Args:
        kinds: what they read.
        above: settings, by their variables, that will be laid over those that can be read now.

    Raises:
        SettingsInvalid: with what is wrong with any of them.
    """
    given: dict[str, Any] = {}
    for name, value in (above or {}).items():
        group, key = name.lower().split("__")
        given.setdefault(group, {})[key] = value
    problems: dict[str, None] = {}  # in order, and each once: parts share groups
    for kind in dict.fromkeys(kinds):
        try:
            kind(**given)
        except SettingsInvalid as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise invalid(list(problems))
