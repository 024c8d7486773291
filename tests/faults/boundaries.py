"""Where the test build of the worker can be made to die, stop or wait: between any two stages.

A test gives an order by creating a file in a folder that the workers share, named after the boundary and the order.
The first worker that brings an image to the boundary takes the order (it renames the file, so exactly one does) and
carries it out on itself. `hold` is an order for all: images wait at the boundary for as long as the file is there.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from worker.work import Stage, Work

BOUNDARIES = ("claimed", "fetched", "decoded", "fingerprinted", "thumbnailed", "embedded", "indexed")
"""What an image is when it passes: `claimed` is before the first stage, `indexed` right before the move to `done`."""

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_LOOK_S = 0.02


class Boundary:
    """A stage that does nothing but follow orders."""

    def __init__(self, name: str, folder: Path, worker: int) -> None:
        self.name = name
        self._worker = worker
        self._orders = {order: folder / f"{name}.{order}" for order in (*_SIGNALS, "hold")}

    async def run(self, work: Work) -> None:  # noqa: ARG002 - orders are for any image
        """See `Stage`."""
        for order, number in _SIGNALS.items():
            if self._take(self._orders[order]):
                os.kill(os.getpid(), number)
        while self._orders["hold"].exists():  # noqa: ASYNC110 - another process removes it
            await asyncio.sleep(_LOOK_S)

    def _take(self, order: Path) -> bool:
        try:
            order.rename(order.with_name(f"{order.name}.taken-by-{self._worker}"))
        except FileNotFoundError:
            return False
        return True


def between(stages: Sequence[Stage], folder: Path, worker: int) -> list[Stage]:
    """Put a boundary before each stage and after the last."""
    first, *others = (Boundary(name, folder, worker) for name in BOUNDARIES)
    pairs = zip(stages, others, strict=True)
    return [first, *(each for pair in pairs for each in pair)]


def clock_file(folder: Path, worker: int) -> Path:
    """Return the file that says by how many seconds a worker's clock is off."""
    return folder / f"clock.{worker}"


class Orders:
    """The tests' side of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def give(self, boundary: str, order: str) -> None:
        """Have the next worker at the boundary follow an order."""
        assert boundary in BOUNDARIES
        (self.folder / f"{boundary}.{order}").touch()

    async def taken(self, boundary: str, order: str) -> int:
        """Wait until a worker has taken the order; return its number."""
        while True:
            for path in self.folder.glob(f"{boundary}.{order}.taken-by-*"):
                path.unlink()
                return int(path.name.rpartition("-")[2])
            await asyncio.sleep(_LOOK_S)

    def set_clock(self, worker: int, seconds: float) -> None:
        """Write down by how much a worker's clock is to be off; it looks when it gets `CLOCK_SIGNAL`."""
        clock_file(self.folder, worker).write_text(f"{seconds}")

    def clear(self) -> None:
        """Withdraw every order."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)
