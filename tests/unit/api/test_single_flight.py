"""Equal work at the same time is done once, for as long as anybody waits for it."""

import asyncio

import pytest

from api.single_flight import SingleFlight


class Work:
    """Work that ends when it is told to, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        begun = self.begun
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return begun


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_equal_work_is_done_once_and_other_work_beside_it() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work, other = Work(), Work()
    callers = [asyncio.create_task(flights.join("a", work)) for _ in range(10)]
    callers.append(asyncio.create_task(flights.join("b", other)))
    await turns()
    assert (work.begun, other.begun) == (1, 1)
    work.may_end.set()
    other.may_end.set()
    assert await asyncio.gather(*callers) == [1] * 11
    assert len(flights) == 0
    assert await flights.join("a", work) == 2, "what is over is not kept"


async def test_it_goes_on_when_who_began_it_leaves() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    first, second, third = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    await turns()
    for leaving in (first, third):
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    work.may_end.set()
    assert await second == 1
    assert (work.begun, work.cancelled, len(flights)) == (1, 0, 0)


async def test_it_ends_when_all_have_left_and_the_next_begins_anew() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    await turns()
    for caller in callers:
        caller.cancel()
    late = asyncio.create_task(flights.join("a", work))
    await turns()
    assert (work.begun, work.cancelled, len(flights)) == (2, 1, 1)
    work.may_end.set()
    assert await late == 2


async def test_what_it_raises_everybody_gets_and_the_next_tries_again() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    work.error = ValueError("scripted")
    work.may_end.set()
    results = await asyncio.gather(*(flights.join("a", work) for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["scripted"] * 3
    assert work.begun == 1
    work.error = None
    assert await flights.join("a", work) == 2
