"""One guarded process that tests kill, pause, fill the disk of, and start again."""

import asyncio
import signal
from pathlib import Path
from typing import Generic, TypeVar

import httpx
import psutil

from common.tls import verify
from deploy.local.launcher import GuardedProcess, Launcher
from deploy.local.service import NotReady, Service
from deploy.local.services import PythonService

S = TypeVar("S", bound=Service)

_PROBE_S = 0.1
_START_S = 180.0


class Process(Generic[S]):
    """A service's process. A guard sees to it that it dies with the tests, whatever becomes of them."""

    def __init__(self, service: S, launcher: Launcher) -> None:
        self.service = service
        self._launcher = launcher
        self._guarded: GuardedProcess | None = None
        self._ended: asyncio.Future[int] | None = None
        self._limited = False

    @property
    def log(self) -> Path:
        """Where its output goes, over all its lives."""
        return self._launcher.log_file(self.service.name)

    async def spawn(self) -> None:
        """Start it; do not wait until it serves."""
        await self.service.prepare(self._launcher)
        self._guarded = await self._launcher.spawn(
            self.service.name,
            self.service.command(),
            self.service.environment(),
            stop_signal=self.service.stop_signal,
            grace_s=self.service.grace_s,
            leftovers=self.service.leftovers(),
        )
        self._ended = asyncio.ensure_future(self._guarded.wait())

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        await self.spawn()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it serves; if it dies before, as what it needs is slow, start it again as a supervisor does."""
        try:
            async with asyncio.timeout(_START_S):
                while not await self._serves():
                    await asyncio.sleep(_PROBE_S)
                    if not self.alive:
                        await self.spawn()
        except TimeoutError:
            raise AssertionError(
                f"{self.service.name} does not serve:\n{self._launcher.tail(self.service.name)}"
            ) from None

    async def _serves(self) -> bool:
        try:
            await self.service.probe()
        except NotReady:
            return False
        return self.alive

    @property
    def alive(self) -> bool:
        """Whether it has been started and not ended since."""
        return self._ended is not None and not self._ended.done()

    def process(self) -> psutil.Process:
        """Return the process itself, which runs."""
        assert self._guarded is not None
        children = psutil.Process(self._guarded.guard_pid).children()
        return min(children, key=psutil.Process.create_time)  # others are orphans of its

    async def kill(self) -> None:
        """End it with SIGKILL; what it forked goes too."""
        self.process().kill()
        await self.wait()

    async def wait(self) -> None:
        """Wait until it, and all it forked, are gone."""
        if self._ended is not None:
            await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """End it as an operator does."""
        if self._guarded is not None:
            if self.alive:
                self.resume()
            self._guarded.stop()
            await self.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        self.process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; harmless when it runs."""
        assert self._guarded is not None
        for process in psutil.Process(self._guarded.guard_pid).children():
            process.send_signal(signal.SIGCONT)

    def limit_files(self, size: int) -> None:
        """Refuse it to write files larger than `size` bytes: what a full disk does, without being root."""
        _, most = self.process().rlimit(psutil.RLIMIT_FSIZE)
        self.process().rlimit(psutil.RLIMIT_FSIZE, (size, most))
        self._limited = True

    def lift_limit(self) -> None:
        """Let it write again."""
        if self._limited:
            _, most = self.process().rlimit(psutil.RLIMIT_FSIZE)
            self.process().rlimit(psutil.RLIMIT_FSIZE, (most, most))
            self._limited = False


class Module(PythonService):
    """A Python module that serves HTTP; it counts as started when it is alive, whatever it depends on."""

    def __init__(self, name: str, module: str, port: int, settings: dict[str, str], *arguments: str) -> None:
        super().__init__(name, module, port, settings, grace_s=8)
        self._arguments = arguments

    def command(self) -> list[str]:
        """Return the module's command line."""
        return [*super().command(), *self._arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment, without what would measure the coverage of a process that is killed anyway."""
        return {name: value for name, value in super().environment().items() if not name.startswith("COVERAGE_")}

    async def probe(self) -> None:
        """Return when `/health` answers 200."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=2, verify=verify(self.url)) as client:
                response = await client.get(f"{self.url}/health")
        except httpx.TransportError:
            raise NotReady from None
        if not response.is_success:
            raise NotReady(response.text)
