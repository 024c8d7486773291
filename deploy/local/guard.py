"""A guard: the parent of one process of the stack, which it never outlives and never leaves behind.

    python -m deploy.local.guard --stop-signal SIGTERM --grace 10 [--remove FILE]… -- COMMAND…

Standard input is a pipe whose other end only the supervisor holds, so its end means "stop", whether the supervisor
closed it or was killed with -9: the guard sends the stop signal, and SIGKILL when the grace period is over. SIGUSR1
means "now". When the process is gone, so is all it forked, and the guard exits with its status (128 + n for signal n).
Should the guard itself be killed, Linux kills the process too (`PR_SET_PDEATHSIG`).

Guard and process have sessions of their own: Ctrl-C in a terminal reaches the supervisor alone. SIGTERM, SIGINT and
SIGHUP are ignored here for the same reason, as service managers send them to everybody at once.
"""

import argparse
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

import psutil

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Guard:
    """Runs one command and sees to its end."""

    def __init__(self, command: list[str], stop_signal: signal.Signals, grace_s: float) -> None:
        self._command = command
        self._stop_signal = stop_signal
        self._grace_s = grace_s
        self._deadline: float | None = None
        self._hurry = False
        self._status: int | None = None

    def run(self) -> int:
        """Return the command's exit status, after everything it started has ended too."""
        wakeup = self._listen_to_signals()
        _adopt_orphans()
        # The guard has one thread, so running Python between fork and exec is safe.
        child = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(_die_with, os.getpid(), ctypes.CDLL(None)),  # noqa: PLW1509
        )
        with selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while not self._ended(child):
                ready = {key.fileobj for key, _ in selector.select(self._time_left())}
                if wakeup in ready:
                    os.read(wakeup, 4096)
                if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
                    selector.unregister(sys.stdin)
                    child.send_signal(self._stop_signal)
                    self._deadline = time.monotonic() + self._grace_s
                if self._hurry or self._time_left() == 0:
                    child.kill()
                    self._hurry, self._deadline = False, None
        _kill_descendants()
        return self._status if self._status is not None else 1

    def _listen_to_signals(self) -> int:
        """Make every signal wake the selector through the descriptor returned."""
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        os.set_blocking(writable, False)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: that would be inherited by the process.
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(each, lambda _number, _frame: None)
        signal.signal(signal.SIGUSR1, self._on_hurry)
        return readable

    def _on_hurry(self, _number: int, _frame: FrameType | None) -> None:
        self._hurry = True

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _ended(self, child: subprocess.Popen[bytes]) -> bool:
        """Reap whoever ended, orphans included, and say whether the process itself is among them."""
        while self._status is None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return False
            if pid == child.pid:
                code = os.waitstatus_to_exitcode(status)
                child.returncode = code  # Popen must not wait for a pid that is gone
                self._status = code if code >= 0 else 128 - code
        return True


def _adopt_orphans() -> None:
    """Become the parent of whatever the process forks and leaves behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with(guard: int, libc: ctypes.CDLL) -> None:
    """Between fork and exec: have the kernel kill this process when its guard dies (Linux)."""
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != guard:  # it died before the line above
        os._exit(1)


def _kill_descendants() -> None:
    """Kill what the process left behind. Returns when nothing is left."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1)


def main() -> int:
    """Parse the command line, guard the command, return its exit status."""
    parser = argparse.ArgumentParser(prog="guard")
    parser.add_argument("--stop-signal", type=signal.Signals.__getitem__, default=signal.SIGTERM)
    parser.add_argument("--grace", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--remove", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    os.umask(0o077)
    try:
        return Guard(arguments.command, arguments.stop_signal, arguments.grace).run()
    finally:
        for leftover in arguments.remove:
            leftover.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
