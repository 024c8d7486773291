"""One sandboxed child, seen from the worker: start it, hand it an image, kill it with all it may have started."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from common.errors import ImageUnreadable, InfrastructureError
from common.imaging import Preprocess
from worker.decode_wire import LENGTH, OUT_OF_MEMORY, READY, ChildConfig, GarbledAnswer, pack_wishes, read_answer
from worker.render import Rendered

_START_TIMEOUT_S = 60
_READ_BUFFER_BYTES = 1024 * 1024
_PIECE_BYTES = 256 * 1024


class ChildFailed(Exception):
    """The child gave no verdict and is of no further use. It died, hung, ran out of memory or talked nonsense."""

    def __init__(self, verdict: ImageUnreadable) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


class DecodeProcess:
    """A running child. Not for concurrent use: one image at a time."""

    def __init__(self, process: asyncio.subprocess.Process, wall_s: float) -> None:
        self._process = process
        self._requests = cast(asyncio.StreamWriter, process.stdin)
        self._answers = cast(asyncio.StreamReader, process.stdout)
        self._wall_s = wall_s
        self.rendered = 0

    @classmethod
    async def start(cls, config: ChildConfig, wall_s: float) -> "DecodeProcess":
        """Start a child and wait until it has limited itself.

        It leads a process group of its own: Ctrl-C passes it by, and what it forks is killed with it.

        Raises:
            InfrastructureError: it can't be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-W", "ignore", "-m", "worker.decode_child", config.to_json()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
                limit=_READ_BUFFER_BYTES,
            )
        except OSError as error:
            raise InfrastructureError("no decode process can be started", code="decoder_unavailable") from error
        child = cls(process, wall_s)
        try:
            await child._await_ready()
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def alive(self) -> bool:
        """Whether the child still runs, as far as is known."""
        return self._process.returncode is None

    async def render(self, data: bytes, preprocesses: Sequence[Preprocess]) -> Rendered:
        """Have one image rendered.

        Raises:
            ImageRejected: the child's verdict.
            ChildFailed: there is none. Stop the child then, and likewise when this call is cancelled.
        """
        try:
            async with asyncio.timeout(self._wall_s):
                rendered = await self._exchange(data, preprocesses)
        except TimeoutError:
            raise ChildFailed(_timed_out()) from None
        except (asyncio.IncompleteReadError, ConnectionError, GarbledAnswer) as error:
            self._kill_group()  # the child is dying, but not what it forked
            raise ChildFailed(_died(await self._process.wait())) from error
        except ImageUnreadable as verdict:
            if verdict.code == OUT_OF_MEMORY:
                raise ChildFailed(verdict) from None
            raise
        finally:
            self.rendered += 1
        return rendered

    async def stop(self) -> None:
        """Kill the child and its group, and return when it is gone."""
        if self.alive:  # the number of a process that died long ago may have been given away
            self._kill_group()
        self._requests.close()
        await self._process.wait()

    async def _await_ready(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                answer = await self._answers.readexactly(len(READY))
        except (TimeoutError, asyncio.IncompleteReadError):
            answer = b""
        if answer != READY:
            raise InfrastructureError(
                "a decode process did not start; its standard error says why", code="decoder_unavailable"
            )

    async def _exchange(self, data: bytes, preprocesses: Sequence[Preprocess]) -> Rendered:
        await self._send(pack_wishes(preprocesses) + LENGTH.pack(len(data)))
        for start in range(0, len(data), _PIECE_BYTES):  # the pipe's buffer would hold a copy of all of it
            await self._send(data[start : start + _PIECE_BYTES])
        return await read_answer(self._answers, [preprocess.size for preprocess in preprocesses])

    async def _send(self, piece: bytes) -> None:
        if self._requests.is_closing():  # which to write to is a defect for some event loops
            raise ConnectionResetError("the child has closed its input")
        self._requests.write(piece)
        await self._requests.drain()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """No secrets of the worker's; its import path; one thread and one heap for a small, predictable address space."""
    import_path = [path or str(Path.cwd()) for path in sys.path]
    return {
        "PYTHONPATH": os.pathsep.join(path for path in import_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }


def _died(returncode: int) -> ImageUnreadable:
    if returncode == -signal.SIGXCPU:
        return _timed_out()
    return ImageUnreadable(f"decoding ended its process (exit status {returncode})", code="decode_crashed")


def _timed_out() -> ImageUnreadable:
    return ImageUnreadable("decoding takes too long", code="decode_timeout")
