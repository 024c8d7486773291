"""A bounded amount of something that concurrent tasks share: slots, bytes in memory. First come, first served.

Who asks for more than there is at all gets all of it, and so is alone. Because nobody overtakes, nobody starves: a
large request waits for those before it, and those after it wait for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Share:
    """A part taken from a budget. As a context manager it is given back at the end."""

    def __init__(self, budget: "Budget", amount: int) -> None:
        self._budget = budget
        self._amount = amount

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Return the share; returning it again is fine."""
        amount, self._amount = self._amount, 0
        self._budget._return(amount)  # noqa: SLF001 - the budget's other half


class Holding:
    """An async context manager that takes a share and gives it back; it may be entered again after that."""

    def __init__(self, budget: "Budget", amount: int) -> None:
        self._budget = budget
        self._amount = amount
        self._share: Share | None = None

    async def __aenter__(self) -> None:
        self._share = await self._budget.take(self._amount)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._share is not None:
            self._share.give_back()


class Budget:
    """An amount to be shared by the tasks of one event loop."""

    def __init__(self, total: int, on_change: Callable[[int], object] = lambda _: None) -> None:
        """Create a budget, all of it free; `on_change` is told how much is used whenever that changes."""
        if total < 1:
            raise ValueError("a budget needs at least 1")
        self.total = total
        self._free = total
        self._on_change = on_change
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """How much is taken."""
        return self.total - self._free

    def hold(self, amount: int) -> Holding:
        """Have `amount`, waited for as by `take`, inside an `async with`."""
        return Holding(self, amount)

    async def take(self, amount: int) -> Share:
        """Wait until `amount`, or all there is at all if that is less, is free and everybody before has got theirs."""
        if (share := self.try_take(amount)) is not None:
            return share
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        amount = min(amount, self.total)
        self._waiting.append((amount, granted))
        try:
            await granted
        except asyncio.CancelledError:
            # It may have been granted just before; otherwise those behind need wait for it no more.
            self._return(0 if granted.cancelled() else amount)
            raise
        return Share(self, amount)

    def try_take(self, amount: int) -> Share | None:
        """Take `amount` as `take` does if that needs no waiting, else None."""
        if amount < 0:
            raise ValueError("a share has at least nothing")
        amount = min(amount, self.total)
        if self._waiting or amount > self._free:
            return None
        self._free -= amount
        self._on_change(self.used)
        return Share(self, amount)

    def _return(self, amount: int) -> None:
        self._free += amount
        self._hand_out()
        self._on_change(self.used)

    def _hand_out(self) -> None:
        while self._waiting:
            wanted, granted = self._waiting[0]
            if not granted.cancelled():
                if wanted > self._free:
                    return
                self._free -= wanted
                granted.set_result(None)
            self._waiting.popleft()
