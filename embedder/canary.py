"""The self-test that goes on while the service is ready: a known picture through the real queue, when somebody asks."""

import asyncio
import time

from common.errors import Overloaded
from embedder.engine import Engine
from embedder.model import Pixels, Vectors
from embedder.selftest import same
from embedder.thread import ModelThread

_FRESH_S = 10.0
_PATIENCE_S = 1.5  # a readiness probe itself has a deadline of a few seconds


class Canary:
    """Notices a dead or stuck model thread, and a device that has begun to answer nonsense."""

    def __init__(self, engine: Engine, thread: ModelThread, picture: Pixels, expected: Vectors, stall_s: float) -> None:
        """Create a canary.

        Args:
            engine: the queue that requests go through.
            thread: runs the model.
            picture: (S, S, 3).
            expected: the model's answer to it at start: (D,).
            stall_s: how long nothing may come back from the model before it counts as stuck.
        """
        self._engine = engine
        self._thread = thread
        self._picture = picture
        self._expected = expected
        self._stall_s = stall_s
        self._trouble: str | None = None
        self._checked_at = time.monotonic()
        self._flight: asyncio.Task[None] | None = None
        self._waiting_since: float | None = None

    async def find_trouble(self) -> str | None:
        """Say what is wrong with the model, or None; answers within two seconds, from memory when asked often."""
        if not self._thread.alive:
            return "the model's thread has died"
        now = time.monotonic()
        if now - self._checked_at >= _FRESH_S or self._trouble is not None:
            self._waiting_since = self._waiting_since or now
            self._flight = self._flight or asyncio.create_task(self._fly())
            await asyncio.wait([self._flight], timeout=_PATIENCE_S)
        return self._find_silence() or self._trouble

    async def close(self) -> None:
        """Stop a check under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _find_silence(self) -> str | None:
        if self._waiting_since is None:
            return None
        silent_s = time.monotonic() - max(self._waiting_since, self._engine.last_success)
        return f"the model has not answered for {silent_s:.0f} s" if silent_s > self._stall_s else None

    async def _fly(self) -> None:
        try:
            answer = (await self._engine.images.encode([self._picture]))[0]
        except Overloaded:
            return  # busy: whether answers still come, `last_success` tells
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the trouble looked for
            self._trouble = f"the model fails: {error}"
        else:
            right = same(answer, self._expected, self._engine.info.precision)
            self._trouble = None if right else "a known picture has another vector than at start"
        finally:
            self._flight = None
        self._checked_at = time.monotonic()
        self._waiting_since = None
