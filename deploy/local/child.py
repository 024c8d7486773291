"""One service kept alive: started, watched, started again when it dies, stopped."""

import asyncio
from time import monotonic

from deploy.local.display import Display, State
from deploy.local.errors import ServiceFailed
from deploy.local.launcher import GuardedProcess, Launcher
from deploy.local.restart import RestartPolicy
from deploy.local.service import NotReady, Service

_PROBE_INTERVAL_S = 0.1


class Child:
    """A service and the process that presently runs it."""

    def __init__(self, service: Service, launcher: Launcher, display: Display, policy: RestartPolicy) -> None:
        self.service = service
        self.ready = asyncio.Event()
        self._launcher = launcher
        self._display = display
        self._policy = policy
        self._process: GuardedProcess | None = None

    async def keep(self) -> None:
        """Keep the service running, until cancelled.

        Raises:
            ServiceFailed: it died too often, was not ready in time, or can't be started at all.
        """
        while True:
            ready_at: float | None = None
            self._display.show(self.service.name, State.STARTING)
            self._process = process = await self._start()
            died = asyncio.ensure_future(process.wait())
            try:
                if await self._becomes_ready(died):
                    ready_at = monotonic()
                    self.ready.set()
                    self._display.show(self.service.name, State.READY)
                status = await died
            finally:
                self.ready.clear()
                died.cancel()
            delay = self._policy.delay_after_death(0 if ready_at is None else monotonic() - ready_at)
            if delay is None:
                raise ServiceFailed(
                    f"{self.service.name} died {self._policy.deaths} times, the last time with exit status {status}. "
                    f"Its log ends:\n{self._launcher.tail(self.service.name)}"
                )
            self._display.show(self.service.name, State.DIED, f"exit status {status}, again in {delay:g} s")
            await asyncio.sleep(delay)

    async def stop(self) -> None:
        """End the process politely and wait until it, and all it forked, are gone."""
        if self._process is not None:
            self._display.show(self.service.name, State.STOPPING)
            self._process.stop()
            await self._process.wait()
            self._process = None
            self._display.show(self.service.name, State.STOPPED)

    def kill(self) -> None:
        """End the process at once; `stop` returns soon."""
        if self._process is not None:
            self._process.kill()

    async def _start(self) -> GuardedProcess:
        try:
            return await self._prepare_and_spawn()
        except OSError as error:
            raise ServiceFailed(f"{self.service.name} can't be started: {error}") from error

    async def _prepare_and_spawn(self) -> GuardedProcess:
        await self.service.prepare(self._launcher)
        return await self._launcher.spawn(
            self.service.name,
            self.service.command(),
            self.service.environment(),
            stop_signal=self.service.stop_signal,
            grace_s=self.service.grace_s,
            leftovers=self.service.leftovers(),
        )

    async def _becomes_ready(self, died: "asyncio.Future[int]") -> bool:
        """Return True when it serves, False when it died before."""
        detail = ""
        try:
            async with asyncio.timeout(self.service.start_timeout_s):
                while not died.done():
                    try:
                        await self.service.probe()
                    except NotReady as waiting:
                        if str(waiting) != detail:
                            detail = str(waiting)
                            self._display.show(self.service.name, State.STARTING, detail)
                    else:
                        return not died.done()
                    await asyncio.wait([died], timeout=_PROBE_INTERVAL_S)
        except TimeoutError:
            raise ServiceFailed(
                f"{self.service.name} was not ready after {self.service.start_timeout_s:g} s ({detail}). "
                f"Its log ends:\n{self._launcher.tail(self.service.name)}"
            ) from None
        return False
