"""The stack of the demo: the one that runs, or one of its own that lives as long as the demo."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common.api_client import ApiClient, ApiUnavailable
from common.connection_file import API_URL, find_connection
from deploy.local.errors import ServiceFailed
from deploy.local.ports import LOOPBACK

_PROBE_INTERVAL_S = 0.5
_GRACE_S = 90


@asynccontextmanager
async def serving_stack(say: Callable[[str], None]) -> AsyncIterator[tuple[str, bool]]:
    """Yield the URL of a stack that is ready, and whether it stays when the demo is over.

    `LIKENESS_URL` names the one to use; otherwise it is the local one, started when it does not run.

    Raises:
        ServiceFailed: it can't be reached or started, or went away.
    """
    named = os.environ.get(API_URL)
    url = named or _local_url()
    if await _answers(url):
        say(f"Using the Likeness that runs at {url}.")
        yield await _until_ready(lambda: url, None), True
        return
    if named:
        raise ServiceFailed(f"nothing answers at {named}, which {API_URL} names: start it, or unset the variable")
    say("No Likeness runs here: starting one for the time of the demo.")
    async with _own_stack() as ended:
        yield await _until_ready(_local_url, ended), False


def _local_url() -> str:
    return find_connection().get(API_URL) or f"http://{LOOPBACK}:{os.environ.get('PORT') or 8000}"


async def _answers(url: str) -> bool:
    async with ApiClient(url) as client:
        try:
            await client.check()
        except ApiUnavailable:
            return False
        return True


@asynccontextmanager
async def _own_stack() -> AsyncIterator["asyncio.Task[int]"]:
    """Run `deploy.local` under a guard, which stops it also when the demo is killed; yields the wait for its end."""
    guard = [sys.executable, "-m", "deploy.local.guard", "--stop-signal", "SIGTERM", "--grace", f"{_GRACE_S}", "--"]
    process = await asyncio.create_subprocess_exec(
        *guard, sys.executable, "-m", "deploy.local", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    ended = asyncio.create_task(process.wait())
    try:
        yield ended
    finally:
        process.stdin.close()
        await asyncio.shield(ended)


async def _until_ready(locate: Callable[[], str], ended: "asyncio.Task[int] | None") -> str:
    """Return the URL of the stack when it is ready; `ended` is the end of the process that runs it, if it is ours."""
    while True:
        if ended is not None and ended.done():
            raise ServiceFailed(f"the local stack ended with status {ended.result()}; it says why above")
        url = locate()  # anew each time: our own tells its address only once it has one
        async with ApiClient(url) as client:
            try:
                if (await client.readiness()).ready:
                    return url
            except ApiUnavailable as error:
                if ended is None:
                    raise ServiceFailed(f"the stack went away: {error}") from error
        await asyncio.sleep(_PROBE_INTERVAL_S)
