"""One stack per data folder.

Two locks, both `flock`, so the kernel drops them with the last process that holds them. The supervisor alone holds the
first: whoever can't take it is told who runs here. Every guard inherits the second: a start right after the supervisor
was killed waits until the guards have stopped what they guard, and never opens a database that is still in use.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from deploy.local.errors import AlreadyRunning
from deploy.local.home import Home

GUARDS_WAIT_S = 60.0


@asynccontextmanager
async def locked(home: Home, url: str, *, guards_wait_s: float = GUARDS_WAIT_S) -> AsyncIterator[int]:
    """Hold both locks of `home`; yield the descriptor of the one that guards inherit.

    Raises:
        AlreadyRunning: another stack runs here (the message names its pid and URL), or what an earlier one started
            would not end in time.
    """
    with _opened(home.lock_file) as run, _opened(home.guards_lock_file) as guards:
        if not _try_lock(run):
            raise AlreadyRunning(_who_runs(home))
        await _wait_for_guards(guards, home, guards_wait_s)
        os.ftruncate(run, 0)
        os.pwrite(run, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
        yield guards


@contextmanager
def _opened(path: os.PathLike[str]) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _wait_for_guards(descriptor: int, home: Home, wait_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait_s
    while not _try_lock(descriptor):
        if asyncio.get_running_loop().time() > deadline:
            raise AlreadyRunning(f"processes of an earlier run still use {home.path} and would not end")
        await asyncio.sleep(0.1)


def _who_runs(home: Home) -> str:
    try:
        owner = json.loads(home.lock_file.read_text())
        who = f"pid {owner['pid']}, {owner['url']}"
    except (ValueError, TypeError, KeyError):  # it holds the lock, but has not written yet who it is
        who = "it is just starting"
    return (
        f"Likeness already runs on {home.path} ({who}): use that one, stop it first, "
        "or start another on a folder and port of its own: LIKENESS_HOME=… PORT=… make run"
    )
