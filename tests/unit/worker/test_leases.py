"""Leases are renewed together for as long as they are held, through outages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest
import structlog

from common.db.attempts import Fence
from common.errors import DatabaseUnavailable
from tests.fakes.moves import FakeMoves
from worker.leases import Leases


@pytest.fixture
def moves() -> FakeMoves:
    return FakeMoves()


@pytest.fixture
async def leases(moves: FakeMoves) -> AsyncIterator[Leases]:
    running = Leases(moves, timedelta(milliseconds=3))
    task = asyncio.create_task(running.run())
    yield running
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_all_held_leases_are_renewed_together_again_and_again(moves: FakeMoves, leases: Leases) -> None:
    one, other = moves.own(Fence(uuid4(), 1)), moves.own(Fence(uuid4(), 3))
    with leases.hold(one), leases.hold(other):
        for _ in range(3):
            assert set(await moves.renewed.get()) == {one, other}


async def test_what_is_let_go_is_not_renewed(moves: FakeMoves, leases: Leases) -> None:
    kept, let_go = Fence(uuid4(), 1), Fence(uuid4(), 1)
    with leases.hold(kept):
        with pytest.raises(ValueError, match="the attempt failed"), leases.hold(let_go):
            raise ValueError("the attempt failed")
        assert await moves.renewed.get() == [kept]


async def test_nothing_held_asks_nothing(moves: FakeMoves) -> None:
    task = asyncio.create_task(Leases(moves).run())
    await asyncio.wait([task], timeout=0.02)  # several periods
    task.cancel()
    await asyncio.wait([task])
    assert moves.renewed.empty()


async def test_an_outage_does_not_end_the_renewing(moves: FakeMoves, leases: Leases) -> None:
    held = moves.own(Fence(uuid4(), 1))
    moves.down = DatabaseUnavailable("away")
    with leases.hold(held), structlog.testing.capture_logs() as logs:
        await moves.renewed.get()
        await moves.renewed.get()  # so the first has failed
        moves.down = None
        await moves.renewed.get()
        assert await moves.renewed.get() == [held]
    assert "lease_renewal_failed" in [entry["event"] for entry in logs]


async def test_lost_leases_are_said_and_no_longer_held(moves: FakeMoves, leases: Leases) -> None:
    lost, kept = Fence(uuid4(), 1), moves.own(Fence(uuid4(), 1))  # the first is unknown to the fake: not owned
    with leases.hold(lost), leases.hold(kept), structlog.testing.capture_logs() as logs:
        await moves.renewed.get()
        assert await moves.renewed.get() == [kept]
        assert (leases.holds(lost), leases.holds(kept)) == (False, True)
    assert {"event": "leases_lost", "image_ids": [str(lost.id)], "log_level": "warning"} in logs
