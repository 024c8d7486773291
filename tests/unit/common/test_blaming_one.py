"""A batch that fails falls apart into single items only where one of them may be to blame."""

from collections.abc import Sequence

import pytest

from common.batcher import blaming_one


class Refused(Exception):
    """One item may be to blame."""


class Away(Exception):
    """Nobody answers."""


class Service:
    """Doubles numbers; refuses a batch that holds a bad one; after `answers` calls it is away."""

    def __init__(self, *bad: int, answers: int = 1000) -> None:
        self.bad = set(bad)
        self.answers = answers
        self.calls: list[list[int]] = []

    async def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.calls.append(items)
        if len(self.calls) > self.answers:
            raise Away
        if self.bad & set(items):
            raise Refused
        return [2 * item for item in items]


async def answers(service: Service, count: int) -> list[object]:
    """Flush so many items; errors by their class."""
    results = await blaming_one(service, Refused)(list(range(count)))
    return [type(result) if isinstance(result, Exception) else result for result in results]


async def test_a_batch_that_succeeds_is_one_call() -> None:
    service = Service()
    assert await answers(service, 5) == [0, 2, 4, 6, 8]
    assert service.calls == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("bad", [0, 2, 4])
async def test_a_bad_item_fails_alone(bad: int) -> None:
    expected: list[object] = [0, 2, 4, 6, 8]
    expected[bad] = Refused
    assert await answers(Service(bad), 5) == expected


async def test_each_of_several_bad_items_has_an_error_of_its_own() -> None:
    results = await blaming_one(Service(1, 3), Refused)([0, 1, 2, 3])
    assert isinstance(results[1], Refused)
    assert isinstance(results[3], Refused)
    assert results[1] is not results[3]


async def test_two_bad_items_in_front_do_not_hide_the_good_ones() -> None:
    assert await answers(Service(0, 1), 4) == [Refused, Refused, 4, 6]


async def test_what_every_item_meets_is_soon_believed() -> None:
    service = Service(*range(64))
    assert await answers(service, 64) == [Refused] * 64
    assert len(service.calls) == 1 + 3


async def test_who_can_not_be_reached_is_not_asked_for_every_item() -> None:
    service = Service(answers=0)
    with pytest.raises(Away):
        await answers(service, 64)
    assert len(service.calls) == 1


async def test_an_outage_amid_the_single_items_fails_the_rest_at_once() -> None:
    service = Service(1, answers=3)
    assert await answers(service, 64) == [0, Refused, *[Away] * 62]
    assert len(service.calls) == 4


async def test_a_single_bad_item_is_asked_for_once() -> None:
    service = Service(0)
    with pytest.raises(Refused):
        await answers(service, 1)
    assert len(service.calls) == 1


async def test_errors_that_a_flush_returns_are_passed_on() -> None:
    async def flush(items: list[int]) -> Sequence[int | Exception]:
        return [ValueError() if item == 1 else item for item in items]

    results = await blaming_one(flush, Refused)([0, 1, 2])
    assert [type(result) for result in results] == [int, ValueError, int]
