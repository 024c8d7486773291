"""An image whose workers keep dying has no neighbours that it could harm, and none that could harm it."""

import asyncio
from uuid import UUID

import pytest

from common.db.models import TRIES
from common.errors import EmbedderUnavailable
from common.status import ImageStatus
from tests.fakes.pipelines import Gate, Harness, StepStage
from worker.work import Work


class Company:
    """A step that notes beside which others each image ran."""

    def __init__(self) -> None:
        self.inside: set[UUID] = set()
        self.beside: dict[UUID, set[UUID]] = {}

    async def __call__(self, work: Work) -> None:
        self.inside.add(work.claim.id)
        for other in self.inside:
            self.beside.setdefault(other, set()).update(self.inside - {other})
        for _ in range(10):
            await asyncio.sleep(0)
        self.beside[work.claim.id] |= self.inside - {work.claim.id}
        self.inside.remove(work.claim.id)


def suspect(harness: Harness, *ids: UUID) -> None:
    """Have two workers died with these images in flight."""
    for id_ in ids:
        harness.moves.tries_left[id_] = TRIES - 2


async def settle() -> None:
    """Let every task run up to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("position", [0, 3, 5])
async def test_it_runs_with_nothing_else_in_flight(position: int) -> None:
    company = Company()
    harness = Harness(StepStage("decode", company), images=6, images_in_flight=4)
    suspected = harness.ids[position]
    suspect(harness, suspected)
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.DONE] * 6
    assert company.beside.pop(suspected) == set()
    assert any(company.beside.values()), "the others do run side by side"


async def test_several_run_one_after_another() -> None:
    company = Company()
    harness = Harness(StepStage("decode", company), images=5)
    suspect(harness, *harness.ids[:3])
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.DONE] * 5
    assert [company.beside[id_] for id_ in harness.ids[:3]] == [set()] * 3


async def test_it_is_not_claimed_while_it_waits_and_the_wait_costs_no_try() -> None:
    """Or the death of a neighbour's worker, which it waits for, would count against it."""
    gate = Gate()
    harness = Harness(StepStage("decode", gate), images=2)
    normal, suspected = harness.ids
    suspect(harness, suspected)
    first = asyncio.create_task(harness.pipeline.process_all([normal]))
    await gate.entered.acquire()
    second = asyncio.create_task(harness.pipeline.process_all([suspected]))
    await settle()
    assert harness.states == [ImageStatus.EMBEDDING, ImageStatus.PENDING]
    assert harness.held == {normal}
    assert harness.moves.tries_left[suspected] == TRIES - 2
    gate.open.set()
    await asyncio.gather(first, second)
    assert harness.states == [ImageStatus.DONE] * 2
    assert harness.moves.tries_left[suspected] == TRIES - 3


async def test_its_lease_is_held_while_it_runs_and_those_behind_it_are_not_claimed() -> None:
    gate = Gate()
    harness = Harness(StepStage("decode", gate), images=4)
    suspect(harness, harness.ids[0])
    first = asyncio.create_task(harness.pipeline.process_all(harness.ids[:1]))
    await gate.entered.acquire()
    others = asyncio.create_task(harness.pipeline.process_all(harness.ids[1:]))
    await settle()
    assert harness.held == {harness.ids[0]}
    assert harness.states[1:] == [ImageStatus.PENDING] * 3
    gate.open.set()
    await asyncio.gather(first, others)
    assert harness.states == [ImageStatus.DONE] * 4


async def test_one_death_is_no_suspicion() -> None:
    company = Company()
    harness = Harness(StepStage("decode", company), images=3)
    harness.moves.tries_left[harness.ids[0]] = TRIES - 1
    await harness.pipeline.process_all(harness.ids)
    assert company.beside[harness.ids[0]] == set(harness.ids[1:])
    assert not harness.moves.releases


async def test_another_worker_may_take_it_while_it_waits() -> None:
    gate = Gate()
    harness = Harness(StepStage("decode", gate), images=2)
    suspected = harness.ids[1]
    suspect(harness, suspected)
    working = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    await settle()
    assert harness.moves.releases
    harness.moves.status[suspected] = ImageStatus.DONE
    gate.open.set()
    await working
    assert harness.moves.claimed.count(suspected) == 1


async def test_an_outage_while_it_runs_alone_costs_no_try() -> None:
    async def away(_: Work) -> None:
        raise EmbedderUnavailable("away")

    harness = Harness(StepStage("embed", away))
    suspect(harness, *harness.ids)
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.PENDING]
    assert list(harness.moves.tries_left.values()) == [TRIES - 2]


async def test_a_stop_ends_in_time_while_it_waits_for_the_others() -> None:
    gate = Gate()
    harness = Harness(StepStage("decode", gate), images=3)
    suspect(harness, harness.ids[2])
    working = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    await settle()
    assert harness.moves.releases
    await harness.pipeline.stop(0)
    await working
    assert harness.states == [ImageStatus.PENDING] * 3
    assert not harness.held
    assert [harness.moves.tries_left[id_] for id_ in harness.ids] == [TRIES, TRIES, TRIES - 2]


async def test_a_stop_ends_in_time_while_it_runs() -> None:
    gate = Gate()
    harness = Harness(StepStage("decode", gate), images=3)
    suspect(harness, harness.ids[0])
    first = asyncio.create_task(harness.pipeline.process_all(harness.ids[:1]))
    await gate.entered.acquire()
    others = asyncio.create_task(harness.pipeline.process_all(harness.ids[1:]))
    await asyncio.sleep(0)
    await harness.pipeline.stop(0)
    await asyncio.gather(first, others)
    assert harness.states == [ImageStatus.PENDING] * 3
    assert [harness.moves.tries_left[id_] for id_ in harness.ids] == [TRIES - 2, TRIES, TRIES]
    assert not harness.held
