"""A pipeline over fake moves, with stages that do what a test wants."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from common.status import ImageStatus
from tests.fakes.moves import FakeMoves
from worker.leases import Leases
from worker.pipeline import Pipeline
from worker.work import Stage, Work

Step = Callable[[Work], Awaitable[None]]


class StepStage:
    """A stage that does what a test wants; by default nothing."""

    def __init__(self, name: str, step: Step | None = None) -> None:
        self.name = name
        self.ran: list[UUID] = []
        self._step = step

    async def run(self, work: Work) -> None:
        self.ran.append(work.claim.id)
        if self._step is not None:
            await self._step(work)


class Gate:
    """A step that blocks; `entered` counts who came."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.inside = 0
        self.most_inside = 0
        self.open = asyncio.Event()

    async def __call__(self, _: Work) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.release()
        try:
            await self.open.wait()
        finally:
            self.inside -= 1


class Harness:
    """A pipeline over fake moves."""

    def __init__(self, *stages: Stage, images: int = 1, images_in_flight: int = 64) -> None:
        self.ids = [uuid4() for _ in range(images)]
        self.moves = FakeMoves(self.ids)
        self.leases = Leases(self.moves)
        self.pipeline = Pipeline(stages, self.moves, self.leases, images_in_flight=images_in_flight)

    @property
    def states(self) -> list[ImageStatus]:
        return [self.moves.status[id_] for id_ in self.ids]

    @property
    def held(self) -> set[UUID]:
        return {fence.id for fence in self.leases._held}
