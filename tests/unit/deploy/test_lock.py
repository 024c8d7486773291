import fcntl
import os
from pathlib import Path

import pytest

from deploy.local.errors import AlreadyRunning
from deploy.local.home import Home
from deploy.local.lock import locked


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, min_free_bytes=0)


async def test_a_second_stack_is_told_who_runs(home: Home) -> None:
    async with locked(home, "http://127.0.0.1:8000"):
        with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}, http://127\.0\.0\.1:8000"):
            async with locked(home, "http://127.0.0.1:8001"):
                pass


async def test_a_stack_that_has_not_said_who_it_is_still_holds_the_lock(home: Home) -> None:
    with home.lock_file.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning, match="just starting"):
            async with locked(home, "url"):
                pass


async def test_the_lock_is_free_afterwards_and_a_longer_url_leaves_no_trace(home: Home) -> None:
    async with locked(home, "http://127.0.0.1:8000/very/long"):
        pass
    async with locked(home, "short"):
        with pytest.raises(AlreadyRunning, match=r", short\)"):
            async with locked(home, "url"):
                pass


async def test_a_start_waits_for_the_guards_of_a_killed_one(home: Home) -> None:
    async with locked(home, "first") as guards:
        # What a guard is to the lock: somebody else who has inherited the descriptor, and lives on.
        inherited = os.dup(guards)
    try:
        with pytest.raises(AlreadyRunning, match="earlier run"):
            async with locked(home, "second", guards_wait_s=0.2):
                pass
    finally:
        os.close(inherited)
    async with locked(home, "third"):
        pass
