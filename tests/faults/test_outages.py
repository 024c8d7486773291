"""Dependencies that go away, hang, forget or answer nonsense while uploads flow."""

import asyncio
from contextlib import suppress
from time import monotonic

import asyncpg
import pytest

from common.errors import LikenessError
from tests.fakes.embedder_server import ANSWERS
from tests.faults.checker import codes
from tests.faults.conftest import Verdict
from tests.faults.faults import OUTAGES, Fault, kill
from tests.faults.holding import held
from tests.faults.system import LEASE_S, System
from tests.faults.traffic import LONG, Traffic, lasting, pictures

TIMEOUT_S = 600
REDIS_P99_S = 2
"""What an upload may take, at the 99th percentile, while Redis does not answer."""


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("fault", OUTAGES, ids=lambda fault: fault.name)
async def test_outage(fault: Fault, system: System, traffic: Traffic, verdict: Verdict) -> None:
    over = asyncio.Event()
    async with traffic.flowing(), asyncio.TaskGroup() as tasks:
        breaking = tasks.create_task(fault.run(system, over))
        await asyncio.sleep(lasting(1.5, fault.long_s))
        await until_shown(fault, system, traffic)
        over.set()
        await breaking
        whole = monotonic()
    outcome = await verdict(since=whole)
    assert fault.spends_tries or outcome.tries_spent == 0
    if LONG and fault.name.startswith("redis"):
        assert traffic.p99_s() < REDIS_P99_S


async def until_shown(fault: Fault, system: System, traffic: Traffic) -> None:
    """Wait until something has failed for the fault, if something has to."""
    async with asyncio.timeout(60):
        while fault.shows and fault.shows not in traffic.refused:
            with suppress(OSError, asyncpg.PostgresError):  # PostgreSQL may be what is broken
                if fault.shows in await codes(system, traffic.accepted):
                    return
            await asyncio.sleep(0.1)


async def test_embedder_answers_nonsense(system: System, traffic: Traffic, verdict: Verdict) -> None:
    for answer in sorted(ANSWERS.keys() - {"right", "slow"}):
        await system.answer(answer)
        ids = await traffic.send(*pictures(3))
        async with asyncio.timeout(60):
            while not await codes(system, ids):  # noqa: ASYNC110 - in the worker
                await asyncio.sleep(0.05)
    outcome = await verdict()
    assert outcome.tries_spent == 0
    assert LikenessError.default_code not in await codes(system, traffic.accepted)


async def test_postgresql_away_for_longer_than_leases(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """Nobody could renew a lease, so that leases ran out tells of no death."""
    await held(system, traffic, "decoded", 4)
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(LEASE_S + 1, over.set)
    await kill("postgres", system, over)
    outcome = await verdict()
    assert outcome.tries_spent == 0
