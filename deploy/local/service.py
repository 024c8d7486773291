"""What the supervisor needs to know about one process of the stack."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from deploy.local.launcher import Launcher


class NotReady(Exception):
    """The process is not ready yet; the message says what it is waiting for, if that is known."""


class Service(Protocol):
    """One process: how it is prepared, started, asked whether it is ready, and stopped."""

    name: str
    stop_signal: signal.Signals
    grace_s: float  # after the stop signal, before SIGKILL
    start_timeout_s: float | None  # to become ready; None: as long as it lives

    async def prepare(self, launcher: Launcher) -> None:
        """Do what must be done before each start: write configuration, heal what a crash left."""
        ...

    def command(self) -> Sequence[str]:
        """Return the command line, program first."""
        ...

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the process."""
        ...

    def leftovers(self) -> Sequence[Path]:
        """Return files outside the data folder that go when the process has gone."""
        ...

    async def probe(self) -> None:
        """Return when the process serves.

        Raises:
            NotReady: it does not yet.
            ServiceFailed: it never will.
        """
        ...


def store_environment(home: Path) -> dict[str, str]:
    """Return the environment of a store: nothing of the user's settings may change how it runs."""
    # PYTHONPATH is for the guard, which starts with the same environment.
    names = ("PATH", "PYTHONPATH", "TMPDIR", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}
