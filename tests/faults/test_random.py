"""Faults drawn at random, one after the other, while images keep coming; the same seed draws the same faults.

`FAULTS_SEED` and `FAULTS_MINUTES` choose the run; `make faults` takes 10 minutes and 2,000 images by default.
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from random import Random
from time import monotonic

import pytest

from tests.faults.conftest import Verdict
from tests.faults.faults import DEATHS, OUTAGES, Fault
from tests.faults.system import System
from tests.faults.traffic import LONG, Traffic, pictures

SEED = int(os.environ.get("FAULTS_SEED", "1"))
RUN_S = 60 * float(os.environ.get("FAULTS_MINUTES", "10" if LONG else "0.15"))
IMAGES_PER_S = 2000 / 600
_PER_UPLOAD = 5
_LASTING_S = (0.5, 6.0) if LONG else (0.5, 1.5)
_PAUSE_S = (0.0, 3.0) if LONG else (0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault of a run: how long it lasts, and how long all is well after it."""

    fault: Fault
    seconds: float
    pause_s: float


def draw(seed: int) -> Iterator[Step]:
    """Yield the steps of a run, without end: how many fit into its time is the machine's affair."""
    random = Random(seed)
    while True:
        yield Step(random.choice(OUTAGES + DEATHS), random.uniform(*_LASTING_S), random.uniform(*_PAUSE_S))


async def keep_sending(traffic: Traffic, until: asyncio.Event) -> None:
    """Upload at a steady pace; what could not be sent during an outage is sent as soon as it is over."""
    started, sent = monotonic(), 0
    while not until.is_set() or sent < RUN_S * IMAGES_PER_S:
        if sent < (monotonic() - started) * IMAGES_PER_S:
            await traffic.send(*pictures(_PER_UPLOAD))
            sent += _PER_UPLOAD
        await asyncio.sleep(0.05)


@pytest.mark.timeout(3 * RUN_S + 300)
@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"random, seed {seed}")
async def test_random_faults(seed: int, system: System, traffic: Traffic, verdict: Verdict) -> None:
    over, end = asyncio.Event(), monotonic() + RUN_S
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_sending(traffic, over))
        for step in takewhile(lambda _: monotonic() < end, draw(seed)):
            fault_over = asyncio.Event()
            asyncio.get_running_loop().call_later(step.seconds, fault_over.set)
            await step.fault.run(system, fault_over)
            last = monotonic()
            await asyncio.sleep(step.pause_s)
        over.set()
    outcome = await verdict(since=last)
    assert outcome.images >= RUN_S * IMAGES_PER_S


def test_the_same_seed_draws_the_same_faults() -> None:
    one, again, other = (list(islice(draw(seed), 300)) for seed in (7, 7, 8))
    assert one == again
    assert one != other
    assert {step.fault for step in one} == set(OUTAGES + DEATHS)
