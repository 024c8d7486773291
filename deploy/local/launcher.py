"""Starts guarded processes: each under a guard of its own (`guard.py`), its output in a log file."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.errors import ServiceFailed

MAX_LOG_BYTES = 5_000_000
TAIL_LINES = 20
_REPOSITORY = Path(__file__).parents[2]


class GuardedProcess:
    """A process under its guard; ours is the guard's standard input, whose end means "stop"."""

    def __init__(self, guard: asyncio.subprocess.Process) -> None:
        self._guard = guard

    @property
    def guard_pid(self) -> int:
        """The guard's pid; the process is its child."""
        return self._guard.pid

    async def wait(self) -> int:
        """Return the exit status (128 + n for signal n), when the process and all it forked are gone."""
        status = await self._guard.wait()
        return status if status >= 0 else 128 - status

    def stop(self) -> None:
        """Ask for a polite end; SIGKILL follows after the grace period. Does not wait."""
        assert self._guard.stdin is not None  # noqa: S101  (spawned with a pipe)
        self._guard.stdin.close()

    def kill(self) -> None:
        """End it now. Does not wait."""
        if self._guard.returncode is None:
            self._guard.send_signal(signal.SIGUSR1)


class Launcher:
    """Starts guarded processes that hold `lock` (an open descriptor) as long as they live."""

    def __init__(self, logs: Path, lock: int) -> None:
        self._logs = logs
        self._lock = lock

    def log_file(self, name: str) -> Path:
        """Return where the output of the service of that name goes."""
        return self._logs / f"{name}.log"

    async def spawn(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: float = 10,
        leftovers: Sequence[Path] = (),
    ) -> GuardedProcess:
        """Start `command` under a guard; its output is appended to the log of `name`."""
        guard = [sys.executable, "-m", "deploy.local.guard", "--stop-signal", stop_signal.name, "--grace", f"{grace_s}"]
        removals = [argument for path in leftovers for argument in ("--remove", str(path))]
        log = _open_log(self.log_file(name))
        try:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *removals,
                "--",
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=_REPOSITORY,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        finally:
            os.close(log)
        return GuardedProcess(process)

    async def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a command to its end, which it does not outlive either.

        Raises:
            ServiceFailed: its exit status is not 0; the message ends with its output.
        """
        process = await self.spawn(name, command, environment)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.stop()
            await process.wait()
            raise
        if status != 0:
            raise ServiceFailed(f"`{Path(command[0]).name}` ended with status {status}:\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        """Return the last lines of a service's log, indented, and where to find the rest."""
        log = self.log_file(name)
        with log.open(errors="replace") as file:
            lines = deque(file, TAIL_LINES)
        return "".join(f"    {line.rstrip()}\n" for line in lines) + f"    ({log})"


def _open_log(path: Path) -> int:
    """Open a log for appending; one that has grown large is set aside first, replacing the one before."""
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
