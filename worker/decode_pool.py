"""Decoding in sandboxed children: an image that hangs, devours memory or crashes its codec harms nothing but itself.

Each child has its own pair of pipes and nothing in common with the others, so any of them can be killed at any
moment. An image whose child gives no verdict gets a second try in a new child, so none pays for what an earlier one
did to their process, or for a child that somebody else killed; failing twice condemns it.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import InfrastructureError
from common.imaging import Preprocess, SizePolicy
from worker.decode_process import ChildFailed, DecodeProcess
from worker.decode_wire import ChildConfig
from worker.metrics import DECODE_POOL_IN_USE, DECODE_POOL_SIZE, DECODE_POOL_WAITING
from worker.render import Rendered, Renderer, render


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one image may cost.

    Attributes:
        memory_bytes: address space on top of an idle child's; 50 million pixels of any format fit the default.
        cpu_s: processor seconds.
        wall_s: seconds.
        images_per_child: after as many a child is replaced by a new one, whatever it may have leaked.
    """

    memory_bytes: int = 1024 * 1024 * 1024
    cpu_s: float = 20
    wall_s: float = 30
    images_per_child: int = 2000


class _Seat:
    """A place in the pool; whoever took it from the queue alone uses its child."""

    def __init__(self) -> None:
        self.child: DecodeProcess | None = None


class DecodePool:
    """A fixed number of sandboxed children that render images."""

    def __init__(
        self,
        policy: SizePolicy,
        *,
        size: int,
        limits: DecodeLimits | None = None,
        renderer: Renderer = render,
    ) -> None:
        """Create a pool; `start` it in the loop that will use it.

        Args:
            policy: the largest images accepted.
            size: children, and so images rendered at the same time.
            limits: what one image may cost.
            renderer: a function of a module that children can import.
        """
        if size < 1:
            raise ValueError("a pool needs at least one child")
        self._limits = limits or DecodeLimits()
        self._config = ChildConfig(
            max_pixels=policy.max_pixels,
            max_side=policy.max_side,
            memory_bytes=self._limits.memory_bytes,
            cpu_s=self._limits.cpu_s,
            renderer=f"{renderer.__module__}:{renderer.__qualname__}",
            parent_pid=os.getpid(),
        )
        self._seats = [_Seat() for _ in range(size)]
        self._free: asyncio.LifoQueue[_Seat] = asyncio.LifoQueue()
        for seat in self._seats:
            self._free.put_nowait(seat)
        DECODE_POOL_SIZE.inc(size)
        self._stopping: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Start all children.

        Raises:
            InfrastructureError: they can't be started; none is left behind.
        """
        results = await asyncio.gather(*map(self._seat_child, self._seats), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                await self.close()
                raise result

    async def render(self, data: bytes, preprocesses: Sequence[Preprocess]) -> Rendered:
        """Render an image in a child, once decoded for all `preprocesses`; waits while all are busy.

        Raises:
            ImageRejected: the image is at fault. Besides the codes of `decode`: `decode_out_of_memory`,
                `decode_timeout`, `decode_crashed`.
            InfrastructureError: the pool is closed, or a child can't be started; says nothing of the image.
        """
        if self._closed:
            raise _closed()
        with DECODE_POOL_WAITING.track_inprogress():
            seat = await self._free.get()
        try:
            with DECODE_POOL_IN_USE.track_inprogress():
                return await self._render_at(seat, data, preprocesses)
        finally:
            self._free.put_nowait(seat)

    async def close(self) -> None:
        """Kill all children and return when they are gone. What is being rendered fails, without a verdict."""
        if self._closed:
            return
        self._closed = True
        DECODE_POOL_SIZE.dec(len(self._seats))
        for seat in self._seats:
            self._dismiss(seat)
        for _ in self._seats:  # when all are free, nobody starts a child any more
            self._dismiss(await self._free.get())
        while self._stopping:
            await asyncio.wait(self._stopping)

    async def _render_at(self, seat: _Seat, data: bytes, preprocesses: Sequence[Preprocess]) -> Rendered:
        failed_before = False
        while not self._closed:
            child = seat.child
            if child is None or not child.alive:
                await self._seat_child(seat)
                continue
            try:
                rendered = await child.render(data, preprocesses)
            except ChildFailed as failure:
                self._dismiss(seat)
                if failed_before and not self._closed:
                    raise failure.verdict from failure
                failed_before = True
            except asyncio.CancelledError:
                self._dismiss(seat)
                raise
            else:
                if child.rendered >= self._limits.images_per_child:
                    self._dismiss(seat)
                return rendered
        raise _closed()

    async def _seat_child(self, seat: _Seat) -> None:
        self._dismiss(seat)
        seat.child = await DecodeProcess.start(self._config, self._limits.wall_s)

    def _dismiss(self, seat: _Seat) -> None:
        """Empty a seat at once; its child is killed in the background, which `close` waits for."""
        if seat.child is not None:
            task = asyncio.get_running_loop().create_task(seat.child.stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
            seat.child = None


def _closed() -> InfrastructureError:
    return InfrastructureError("the decode pool is closed", code="decoder_unavailable")
