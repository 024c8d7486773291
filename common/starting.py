"""The start of a process: settings that are wrong end it in plain words, and what it has made is out of the way."""

import gc
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


def settle_memory() -> None:
    """Have the garbage collector pass over what is there, which is here to stay: call it when something has started.

    To look through the 200,000 objects of a service stops it for 0.1 to 0.2 s, some times a minute when it is busy;
    through what has come since, for a tenth of that.
    """
    gc.unfreeze()  # what was there before, and is garbage by now
    gc.collect()
    gc.freeze()


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
