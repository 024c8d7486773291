"""What the exit status says, and the one place where expected errors become plain words."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import typer

from common.errors import ConfigurationError, DatabaseUnavailable, InfrastructureError, LikenessError
from worker.cli.console import say


class Exit(IntEnum):
    """Exit statuses of every command."""

    FINE = 0
    FOUND = 1
    """It ran, and something was found wrong or did not work out."""
    USAGE = 2
    """The command line, a setting or the database's revision does not fit; nothing was done."""
    UNAVAILABLE = 3
    """PostgreSQL or the HTTP API can't be reached, or did not get well in time."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; 128 + SIGINT, as shells have it."""


EPILOG = (
    "Exit status: 0 fine, 1 something was found or failed, 2 the command line, a setting or the database's revision "
    "does not fit, 3 a dependency is down, 130 interrupted."
)

_WHICH_DATABASE = "The address is DATABASE__URL or, where that is not set, the running local stack's."


@contextmanager
def plain_errors() -> Iterator[None]:
    """Decorate a command: an expected error ends it with one plain sentence, its notes and its exit status."""
    try:
        yield
    except DatabaseUnavailable as error:
        _end(error, Exit.UNAVAILABLE, f"{error}. {_WHICH_DATABASE}")
    except InfrastructureError as error:
        _end(error, Exit.UNAVAILABLE)
    except ConfigurationError as error:
        _end(error, Exit.USAGE)
    except LikenessError as error:
        _end(error, Exit.FOUND)
    except KeyboardInterrupt as error:
        _end(error, Exit.INTERRUPTED, "Interrupted.")


def _end(error: BaseException, status: Exit, message: str | None = None) -> NoReturn:
    say(message or str(error))
    for note in getattr(error, "__notes__", ()):
        say(note)
    raise typer.Exit(status) from None
