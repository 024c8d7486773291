"""Keeps the stack's services running, and stops them in the reverse order of their start."""

import asyncio
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Self

from deploy.local.child import Child
from deploy.local.display import Display
from deploy.local.launcher import Launcher
from deploy.local.restart import RestartPolicy
from deploy.local.service import Service


class Supervisor:
    """An async context; leaving it stops every service: the last group started first, each group at once.

    A cancellation while it stops does not end the stopping: it kills what still runs.
    """

    def __init__(self, launcher: Launcher, display: Display) -> None:
        self._launcher = launcher
        self._display = display
        self._groups: list[list[Child]] = []
        self._keepers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopping = asyncio.ensure_future(self._stop())
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                self._hurry()

    async def start(self, *groups: Sequence[Service]) -> None:
        """Start services at once and return when all are ready; groups matter for the order of stopping alone.

        Raises:
            ServiceFailed: one of them, or one started earlier, can't be kept running.
        """
        started = [
            [Child(service, self._launcher, self._display, RestartPolicy()) for service in group] for group in groups
        ]
        self._groups += started
        children = [child for group in started for child in group]
        self._keepers += [asyncio.create_task(child.keep(), name=child.service.name) for child in children]
        await self._unless_one_fails(_all_ready(children))

    async def watch(self) -> None:
        """Watch over all services, forever.

        Raises:
            ServiceFailed: one of them can't be kept running.
        """
        await self._unless_one_fails(asyncio.Event().wait())

    async def _stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for group in reversed(self._groups):
            await asyncio.gather(*(child.stop() for child in group))

    def _hurry(self) -> None:
        for group in self._groups:
            for child in group:
                child.kill()

    async def _unless_one_fails(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait([task, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            task.cancel()


async def _all_ready(children: list[Child]) -> None:
    for child in children:
        await child.ready.wait()
