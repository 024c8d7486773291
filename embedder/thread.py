"""The one thread that loads and runs the model."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from embedder.turns import TurnQueue

Result = TypeVar("Result")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class ModelThread:
    """Runs blocking calls one after another, always on the same thread, urgent ones first.

    Unlike an executor's, the thread is a daemon: a download or a forward pass that hangs must not keep the process
    from ending.
    """

    def __init__(self) -> None:
        self._jobs: TurnQueue[_Job] = TurnQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether calls are still being run."""
        return self._thread.is_alive()

    async def run(self, call: Callable[[], Result], *, urgent: bool = False) -> Result:
        """Run `call` when its turn comes; return or raise what it does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._jobs.put((call, future, loop), urgent=urgent)
        return await future

    def stop(self, timeout_s: float) -> bool:
        """Let the thread end after what is queued; tell whether it did so in time. Blocks."""
        self._jobs.close()
        self._thread.join(timeout_s)
        return not self.alive

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future, loop = job
            if future.cancelled():
                continue
            try:
                outcome, failed = call(), False
            except Exception as error:  # noqa: BLE001 - whoever awaits the call gets it
                outcome, failed = error, True
            try:
                loop.call_soon_threadsafe(_settle, future, outcome, failed)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


def _settle(future: "asyncio.Future[Any]", outcome: Any, failed: bool) -> None:
    if future.cancelled():
        return
    if failed:
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
