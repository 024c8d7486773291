"""Guards with small processes. Each test waits for what must happen; none measures how long it takes."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

Start = Callable[..., subprocess.Popen[str]]

IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
LEAVES_AN_ORPHAN = f"""
import subprocess, sys
orphan = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}], start_new_session=True, stdout=subprocess.DEVNULL)
print(orphan.pid, flush=True)
sys.exit(7)
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a guard of a Python program, with a pipe on both sides; killed after the test if it still runs."""
    guards: list[subprocess.Popen[str]] = []

    def start(program: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deploy.local.guard", *options, "--", sys.executable, "-c", program]
        guards.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return guards[-1]

    yield start
    for guard in guards:
        with guard:
            guard.kill()


def first_line(guard: subprocess.Popen[str]) -> str:
    assert guard.stdout is not None
    return guard.stdout.readline().strip()


def only_child(guard: subprocess.Popen[str]) -> psutil.Process:
    (child,) = psutil.Process(guard.pid).children()
    return child


def close_pipe(guard: subprocess.Popen[str]) -> None:
    assert guard.stdin is not None
    guard.stdin.close()


def test_the_exit_status_is_the_commands(start: Start) -> None:
    assert start("raise SystemExit(5)").wait() == 5
    assert start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").wait() == 128 + signal.SIGSEGV


def test_the_end_of_the_pipe_stops_the_command(start: Start) -> None:
    guard = start(SLEEPS)
    assert first_line(guard) == "up"
    child = only_child(guard)

    close_pipe(guard)

    assert guard.wait() == 128 + signal.SIGTERM
    assert not child.is_running()


def test_the_stop_signal_is_the_one_asked_for(start: Start) -> None:
    guard = start(SLEEPS, "--stop-signal", "SIGQUIT")
    assert first_line(guard) == "up"

    close_pipe(guard)

    assert guard.wait() == 128 + signal.SIGQUIT


def test_a_command_that_ignores_the_signal_is_killed_after_the_grace_period(start: Start) -> None:
    guard = start(IGNORES_SIGTERM, "--grace", "0.2")
    assert first_line(guard) == "up"

    close_pipe(guard)

    assert guard.wait() == 128 + signal.SIGKILL


def test_sigusr1_means_now(start: Start) -> None:
    guard = start(IGNORES_SIGTERM, "--grace", "600")
    assert first_line(guard) == "up"
    close_pipe(guard)

    guard.send_signal(signal.SIGUSR1)

    assert guard.wait() == 128 + signal.SIGKILL


def test_signals_sent_to_everybody_do_not_end_the_guard_first(start: Start) -> None:
    guard = start(SLEEPS)
    assert first_line(guard) == "up"
    child = only_child(guard)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guard.send_signal(number)

    assert child.is_running()
    close_pipe(guard)
    assert guard.wait() == 128 + signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a subreaper")
def test_what_the_command_leaves_behind_is_killed(start: Start) -> None:
    guard = start(LEAVES_AN_ORPHAN)
    orphan = int(first_line(guard))

    assert guard.wait() == 7
    assert not psutil.pid_exists(orphan)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills with the parent")
def test_the_command_dies_with_its_guard(start: Start) -> None:
    guard = start(SLEEPS)
    assert first_line(guard) == "up"
    child = only_child(guard)

    guard.kill()

    child.wait()


def test_files_it_was_told_to_remove_are_gone_when_it_ends(start: Start, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.touch()
    guard = start("raise SystemExit(0)", "--remove", str(left), "--remove", str(tmp_path / "never-there"))

    assert guard.wait() == 0
    assert not left.exists()
