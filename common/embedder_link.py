"""The way to the embedder: its addresses, the choice between them, the total deadline, and the breaker before all."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from random import random
from typing import TypeVar

import httpx
import structlog

from common.breakers import Breaker
from common.embedder_address import AnswerUnusable, Call, EmbedderAddress, Wanted
from common.embedding import Readiness
from common.errors import EmbedderUnavailable, EmbeddingInvalid, LikenessError, Overloaded, UnknownModel
from common.settings import EmbedderClientSettings

T = TypeVar("T")
Read = Callable[[httpx.Response], T]
"""Makes of a 200 what was asked for, or raises `AnswerUnusable` or `EmbeddingInvalid`."""

_ALL_TIMEOUT_S = 10.0

log = structlog.get_logger(__name__)


class EmbedderLink:
    """The addresses of one embedder service. A call goes to one, and on to the next while it gets no answer."""

    def __init__(
        self, settings: EmbedderClientSettings, breaker: Breaker | None, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        """Create a link; see `EmbedderClient`. Each of several addresses has a breaker that is a part of `breaker`."""
        self._breaker = breaker
        self._timeout_s = settings.timeout_s
        parts = breaker if len(settings.urls) > 1 else None
        self._addresses = [EmbedderAddress(url, settings, parts, transport) for url in settings.urls]
        if breaker is not None:
            breaker.probe_with(self._ping)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(address.close() for address in self._addresses))

    async def ready(self) -> Readiness:
        """Ask whether an address serves, and tell of each how it is; within a few seconds, and never raises."""
        states = await asyncio.gather(*(address.ready() for address in self._addresses))
        if len(states) == 1:
            return states[0]
        best = next((state for state in states if state.ok), states[0])
        told = [_tell(address, state) for address, state in zip(self._addresses, states, strict=True)]
        return best.model_copy(update={"detail": "; ".join(told)})

    async def _ping(self) -> None:
        readiness = await self.ready()
        if not readiness.ok:
            raise EmbedderUnavailable(readiness.detail)

    async def request(self, call: Call, read: Read[T]) -> T:
        """Make a call under the total deadline, where the fewest calls of ours are, else where one is answered.

        Half of what is left of the deadline is kept for other addresses, so one that hangs does not use it up; by one
        that is up nothing is kept for those that are down.
        """
        with self._asking():
            return await self._ask_around(call, read)

    async def ask_all(self, call: Call, read: Read[T]) -> list[T]:
        """Ask every address; return the answers, in the order of the settings. Raises if there are none."""
        timeout_s = self._timeout_s if len(self._addresses) == 1 else min(self._timeout_s, _ALL_TIMEOUT_S)
        with self._asking():
            answers = await asyncio.gather(*(_outcome(address.ask(call, timeout_s)) for address in self._addresses))
            found: list[T] = []
            refusals: list[LikenessError] = []
            for answer in answers:
                try:
                    if isinstance(answer, LikenessError):
                        raise answer
                    found.append(read(answer))
                except LikenessError as error:
                    refusals.append(error)
            if not found:
                raise self._last_word(refusals, self._addresses)
            return found

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with self._breaker.guard() if self._breaker else nullcontext():
                yield
        except AnswerUnusable as error:
            raise EmbedderUnavailable(str(error)) from error

    async def _ask_around(self, call: Call, read: Read[T]) -> T:
        clock = asyncio.get_running_loop().time
        ends = clock() + self._timeout_s
        order = choose(self._addresses, call.wanted)
        refusals: list[LikenessError] = []
        for place, address in enumerate(order, 1):
            left_s = ends - clock()
            if left_s <= 0 or _is_in_vain(address, refusals):
                break
            others = any(other.up or not address.up for other in order[place:])
            try:
                answer = read(await address.ask(call, left_s / 2 if others else left_s))
            except EmbeddingInvalid:  # an input may be the cause, and will be one elsewhere too
                raise
            except (EmbedderUnavailable, Overloaded, UnknownModel) as error:
                refusals.append(error)
                self._note(address, call, error)
            else:
                address.admit(call.wanted)
                return answer
        raise self._last_word(refusals, order[: len(refusals)])

    def _note(self, address: EmbedderAddress, call: Call, error: LikenessError) -> None:
        if len(self._addresses) == 1:
            return
        log.info("embedder_address_failed", address=address.name, path=call.path, code=error.code, error=str(error))
        if isinstance(error, UnknownModel | AnswerUnusable):
            address.leave_out(call.wanted, str(error))

    def _last_word(self, refusals: Sequence[LikenessError], asked: Sequence[EmbedderAddress]) -> LikenessError:
        """Return what to tell the caller of the refusals of those that were asked: what promises most."""
        full = [error for error in refusals if isinstance(error, Overloaded)]
        if full:
            return min(full, key=lambda error: error.retry_after)
        down = [error for error in refusals if type(error) is EmbedderUnavailable]
        if down:
            told = "; ".join(dict.fromkeys(map(str, down)))
            # Where one has answered, or is up and was not asked, others are served: the breaker of all is not to open.
            spared = any(address.up for address in self._addresses if address not in asked)
            return AnswerUnusable(told) if spared or len(down) < len(refusals) else EmbedderUnavailable(told)
        return next((error for error in refusals if isinstance(error, EmbedderUnavailable)), refusals[0])


def choose(addresses: Sequence[EmbedderAddress], model: Wanted) -> list[EmbedderAddress]:
    """Return which addresses to ask for a model, in which order.

    Those that are up come first, of these the ones with the fewest calls in flight. What is down is the last resort:
    it may be back, and nobody has noticed yet. Who has refused the model a moment ago is asked only if all have.
    """
    serving = [address for address in addresses if address.serves(model)] or addresses
    return sorted(serving, key=lambda address: (not address.up, address.in_flight, random()))  # noqa: S311


def _is_in_vain(address: EmbedderAddress, refusals: Sequence[LikenessError]) -> bool:
    """Tell whether to leave alone what is down: somebody is up, and full; callers are not to wait for a deadline."""
    return not address.up and any(isinstance(error, Overloaded) for error in refusals)


async def _outcome(answer: Awaitable[httpx.Response]) -> httpx.Response | LikenessError:
    try:
        return await answer
    except LikenessError as error:
        return error


def _tell(address: EmbedderAddress, state: Readiness) -> str:
    left_out = "" if address.up else ", left out after failures"
    return f"{address.name}: {state.detail}{left_out}"
