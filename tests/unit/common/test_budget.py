"""The budget: never more than there is, first come, first served, and whoever is cancelled leaves no trace."""

import asyncio
import random

import pytest

from common.budget import Budget, Share


async def settle() -> None:
    """Let every task run up to where it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def ask(budget: Budget, amount: int) -> asyncio.Task[Share]:
    return asyncio.ensure_future(budget.take(amount))


async def test_what_is_free_is_given_at_once_and_comes_back() -> None:
    budget = Budget(10)
    with await budget.take(4), await budget.take(6):
        assert budget.used == 10
    assert budget.used == 0


async def test_a_share_comes_back_once() -> None:
    budget = Budget(10)
    other = await budget.take(5)
    share = await budget.take(5)
    share.give_back()
    share.give_back()
    assert budget.used == 5
    other.give_back()
    assert budget.used == 0


async def test_a_share_comes_back_after_an_error() -> None:
    budget = Budget(1)
    with pytest.raises(KeyError), await budget.take(1):
        raise KeyError
    assert budget.used == 0


async def test_a_holding_may_be_entered_again() -> None:
    budget = Budget(10)
    holding = budget.hold(7)
    for _ in range(2):
        async with holding:
            assert budget.used == 7
        assert budget.used == 0


async def test_nobody_overtakes_even_where_it_would_fit() -> None:
    budget = Budget(10)
    first = await budget.take(8)
    large, small = ask(budget, 5), ask(budget, 1)
    await settle()
    assert budget.try_take(1) is None
    assert (large.done(), small.done()) == (False, False)
    first.give_back()
    await asyncio.gather(large, small)
    assert budget.used == 6


async def test_more_than_there_is_runs_alone_instead_of_waiting_for_ever() -> None:
    budget = Budget(10)
    first = await budget.take(1)
    huge, after = ask(budget, 1000), ask(budget, 1)
    await settle()
    assert not huge.done()
    first.give_back()
    share = await huge
    await settle()
    assert (budget.used, after.done()) == (10, False)
    share.give_back()
    await after
    assert budget.used == 1


async def test_who_is_cancelled_lets_those_behind_pass() -> None:
    budget = Budget(10)
    held = await budget.take(8)
    waiting = [ask(budget, amount) for amount in (5, 9, 2)]
    await settle()
    for task in waiting[:2]:
        task.cancel()
    await asyncio.wait(waiting)
    assert budget.used == 10
    held.give_back()
    assert budget.used == 2


async def test_who_is_cancelled_just_as_its_turn_comes_gives_it_back() -> None:
    budget = Budget(10)
    held = await budget.take(10)
    unlucky, next_ = ask(budget, 10), ask(budget, 3)
    await settle()
    held.give_back()  # grants `unlucky`, whose task has not run yet
    unlucky.cancel()
    await asyncio.wait([unlucky, next_])
    assert unlucky.cancelled()
    assert budget.used == 3


async def test_under_random_use_it_is_never_overdrawn_and_never_leaks() -> None:
    budget, dice = Budget(100), random.Random(7)
    held = 0

    async def use(amount: int) -> None:
        nonlocal held
        with await budget.take(amount):
            held += min(amount, budget.total)
            assert held <= budget.total
            try:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                held -= min(amount, budget.total)

    tasks = [asyncio.create_task(use(dice.randrange(130))) for _ in range(400)]
    while pending := [task for task in tasks if not task.done()]:
        if dice.random() < 0.2:
            dice.choice(pending).cancel()
        await asyncio.sleep(0)
    assert budget.used == 0
    assert not any(task.exception() for task in tasks if not task.cancelled())


@pytest.mark.parametrize("total", [0, -1])
def test_a_budget_of_nothing_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Budget(total)


async def test_a_negative_share_is_refused() -> None:
    with pytest.raises(ValueError, match="at least nothing"):
        await Budget(1).take(-1)


async def test_whoever_watches_a_budget_knows_how_much_is_used() -> None:
    told: list[int] = []
    budget = Budget(10, told.append)
    first = await budget.take(6)
    waiting = asyncio.create_task(budget.take(5))
    await asyncio.sleep(0)
    first.give_back()
    (await waiting).give_back()
    assert told == [6, 5, 0]
