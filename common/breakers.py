"""Circuit breakers: a dependency that is down is not asked by everybody, again and again, each waiting for a deadline.

After some failures in a row a breaker opens: calls fail at once, with the error that says the dependency is down. While
it is open, one probe at a time (the dependency's own `ping`) asks whether it is back, and closes it; no call is risked
for that, and it needs no traffic. Counting, thresholds and states are the library's, `circuitbreaker`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from contextvars import Context
from enum import StrEnum
from typing import Final

import structlog
from circuitbreaker import CircuitBreaker
from prometheus_client import Counter, Gauge

from common.errors import InfrastructureError, LikenessError
from common.settings import BreakerSettings

DATABASE: Final = "database"
STORAGE: Final = "storage"
VECTORS: Final = "vectors"
EMBEDDER: Final = "embedder"
REDIS: Final = "redis"
"""Asked for cached vectors alone; hints have deadlines of their own."""

OPEN = Gauge(
    "likeness_breaker_open",
    "1 while a dependency counts as down and is not asked.",
    ["service", "dependency"],
    multiprocess_mode="livemax",
)
OPENINGS = Counter("likeness_breaker_openings", "How often a breaker has opened.", ["service", "dependency"])

log = structlog.get_logger(__name__)

Sleep = Callable[[float], Awaitable[None]]
OnChange = Callable[[bool], None]


class BreakerState(StrEnum):
    """How a breaker stands; the values are the library's."""

    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """Calls fail at once."""
    HALF_OPEN = "half_open"
    """Calls fail at once still, a probe is due or under way."""


class Breaker:
    """Stands before one dependency; made by `Breakers.create`."""

    def __init__(
        self,
        name: str,
        failure: type[InfrastructureError],
        settings: BreakerSettings,
        on_change: OnChange,
        sleep: Sleep = asyncio.sleep,
        watch: Callable[[str], OnChange] | None = None,
    ) -> None:
        """Create a closed breaker.

        Args:
            name: of the dependency, as `/ready` has it.
            failure: the error that says the dependency is down. Others, its subclasses too, are none of a breaker's
                business: an object that is not there, a full queue, a caller that was cancelled.
            settings: when it opens, when it probes.
            on_change: told whether it is open, whenever that changes.
            sleep: waits between probes.
            watch: returns what is told whether a part of this name is open; None: nobody is.
        """
        self.name = name
        self._watch = watch
        self._parts: list[Breaker] = []
        self._failure = failure
        self._settings = settings
        self._on_change = on_change
        self._sleep = sleep
        self._circuit = CircuitBreaker(settings.failures, settings.pause_s, name=name)
        self._probe: Callable[[], Awaitable[None]] | None = None
        self._healing: asyncio.Task[None] | None = None

    @property
    def state(self) -> BreakerState:
        """How it stands."""
        return BreakerState(self._circuit.state)

    @property
    def closed(self) -> bool:
        """Whether calls go through."""
        closed: bool = self._circuit.closed
        return closed

    def part(self, name: str) -> "Breaker":
        """Create the breaker of a part, such as one of several addresses; it is closed with this one's `close`."""
        name = f"{self.name} {name}"
        on_change = self._watch(name) if self._watch is not None else lambda _: None
        self._parts.append(Breaker(name, self._failure, self._settings, on_change, self._sleep))
        return self._parts[-1]

    def probe_with(self, ping: Callable[[], Awaitable[None]]) -> None:
        """Set how the dependency is asked whether it is back: a call that returns, or raises."""
        self._probe = ping

    def check(self) -> None:
        """Raise, as a call would at once, unless the breaker is closed."""
        if not self.closed:
            raise self._failure(
                f"{self.name}: down, and not asked until a probe succeeds ({self._circuit.last_failure})"
            )

    def guard(self, *, proves: bool = True) -> AbstractContextManager[None]:
        """Make a call to the dependency inside. Success starts the count of failures anew; one failure too many opens.

        Args:
            proves: whether success says that the dependency is well; not if the call may get by without asking it.

        Raises:
            InfrastructureError: of the breaker's own kind, at once, while it is not closed.
        """
        return _Guard(self, proves)

    def settle(self, error: BaseException | None, *, proves: bool) -> None:
        """Take in how a call ended; what `guard` does at its end."""
        if type(error) is self._failure:
            self._fail(error)
        # What a call has to say that began before the breaker opened is no news: the probe decides.
        elif error is None and proves and self.closed:
            self._circuit.reset()

    async def close(self) -> None:
        """End the probing, that of parts too."""
        await asyncio.gather(*(part.close() for part in self._parts))
        if self._healing is not None:
            self._healing.cancel()
            await asyncio.wait([self._healing])

    def _fail(self, error: Exception) -> None:
        if not self.closed:
            return
        self._count(error)
        if self.state is not BreakerState.CLOSED:  # or not open any more: to a slow process a probe may be due already
            log.warning("breaker_opened", dependency=self.name, error=str(error))
            self._on_change(True)
            # In a context of its own, so that its log lines are not taken for those of the call that failed.
            self._healing = asyncio.get_running_loop().create_task(self._heal(), context=Context())

    def _count(self, error: Exception) -> None:
        self._circuit.__exit__(type(error), error, error.__traceback__)

    async def _heal(self) -> None:
        """Probe until the dependency is back, then close."""
        while True:
            await self._sleep(self._settings.pause_s)
            try:
                async with asyncio.timeout(self._settings.probe_timeout_s):
                    await self._ping()
            except (LikenessError, TimeoutError) as error:
                self._count(error if str(error) else TimeoutError("no answer in time"))
            except Exception as error:
                log.exception("probe_defect", dependency=self.name)  # it goes on: a breaker must not stay open for that
                self._count(error)
            else:
                self._circuit.reset()
                log.info("breaker_closed", dependency=self.name)
                self._on_change(False)
                return

    async def _ping(self) -> None:
        if self._probe is not None:
            await self._probe()


class _Guard:
    """A call under way, see `Breaker.guard`; as a generator, it would take twice as long."""

    __slots__ = ("_breaker", "_proves")

    def __init__(self, breaker: Breaker, proves: bool) -> None:
        self._breaker = breaker
        self._proves = proves

    def __enter__(self) -> None:
        self._breaker.check()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._breaker.settle(error, proves=self._proves)


class Breakers:
    """The breakers of one service."""

    def __init__(self, service: str, settings: BreakerSettings) -> None:
        """Create none yet; `service` is their name in metrics: api and worker may share a process."""
        self._service = service
        self._settings = settings
        self._breakers: dict[str, Breaker] = {}
        self._changed = asyncio.Event()

    def create(self, name: str, failure: type[InfrastructureError]) -> Breaker:
        """Create the breaker of a dependency, which is down when `failure` is raised."""
        self._breakers[name] = Breaker(name, failure, self._settings, self._watch(name), watch=self._watch)
        return self._breakers[name]

    def _watch(self, name: str) -> OnChange:
        gauge = OPEN.labels(self._service, name)
        gauge.set(0)
        openings = OPENINGS.labels(self._service, name)

        def change(is_open: bool) -> None:
            gauge.set(is_open)
            openings.inc(is_open)
            self.wake()

        return change

    def __getitem__(self, name: str) -> Breaker:
        return self._breakers[name]

    @property
    def states(self) -> dict[str, BreakerState]:
        """How each stands."""
        return {name: breaker.state for name, breaker in self._breakers.items()}

    @property
    def changed(self) -> asyncio.Event:
        """Set when a breaker opens or closes next, or on `wake`; take it before looking at the states."""
        return self._changed

    def wake(self) -> None:
        """Have everybody who awaits `changed` look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_return(self, name: str) -> None:
        """Wait until this dependency has been down and is back."""
        was_down = False
        while True:
            changed = self._changed
            closed = self._breakers[name].closed
            if closed and was_down:
                return
            was_down = not closed
            await changed.wait()

    async def close(self) -> None:
        """End all probing."""
        await asyncio.gather(*(breaker.close() for breaker in self._breakers.values()))
