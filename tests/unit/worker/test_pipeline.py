"""One image from claim to its end: whatever happens to it, it is written down, and its neighbours never notice."""

import asyncio
from uuid import UUID, uuid4

import pytest

from common import correlation
from common.db.models import TRIES
from common.errors import (
    DatabaseUnavailable,
    EmbedderUnavailable,
    ImageUnreadable,
    LikenessError,
    Overloaded,
    OwnershipLost,
)
from common.status import ImageStatus
from tests.fakes.pipelines import Gate, Harness, Step, StepStage
from worker.work import Stage, Work


def raising(*errors: Exception | None) -> Step:
    """Raise these, one an attempt, the last ever after."""
    left = list(errors)

    async def step(_: Work) -> None:
        error = left.pop(0) if len(left) > 1 else left[0]
        if error is not None:
            raise error

    return step


async def test_stages_run_in_order_under_a_lease_then_the_image_is_done() -> None:
    seen: list[tuple[str, bool]] = []
    harness: Harness

    def note(name: str) -> Stage:
        async def step(work: Work) -> None:
            seen.append((name, work.claim.id in harness.held))

        return StepStage(name, step)

    harness = Harness(note("fetch"), note("decode"), note("index"))
    await harness.pipeline.process_all(harness.ids)
    assert seen == [("fetch", True), ("decode", True), ("index", True)]
    assert harness.states == [ImageStatus.DONE]
    assert not harness.held


async def test_images_have_the_id_of_what_brought_them_or_each_its_own() -> None:
    seen: list[str | None] = []

    async def note(_: Work) -> None:
        seen.append(correlation.current())

    swept = Harness(StepStage("note", note), images=2)
    await swept.pipeline.process_all(swept.ids)
    assert len({id_ for id_ in seen if correlation.accept(id_)}) == 2
    hinted = Harness(StepStage("note", note), images=2)
    with correlation.bound("r-1"):
        await hinted.pipeline.process_all(hinted.ids)
    assert seen[2:] == ["r-1", "r-1"]


async def test_stages_of_one_attempt_share_its_work() -> None:
    async def fetch(work: Work) -> None:
        work.data = b"bytes"

    async def decode(work: Work) -> None:
        assert work.data == b"bytes"

    harness = Harness(StepStage("fetch", fetch), StepStage("decode", decode), images=3)
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.DONE] * 3


async def test_what_is_not_due_is_left_alone() -> None:
    stage = StepStage("fetch")
    harness = Harness(stage)
    harness.moves.status[harness.ids[0]] = ImageStatus.DONE
    await harness.pipeline.process_all([*harness.ids, uuid4()])
    assert stage.ran == []
    assert not harness.moves.releases


async def test_lost_ownership_ends_an_attempt_quietly() -> None:
    harness: Harness

    async def overtaken(work: Work) -> None:
        harness.moves.take_over(work.claim.id)
        raise OwnershipLost("another attempt")

    after = StepStage("index")
    harness = Harness(StepStage("embed", overtaken), after)
    await harness.pipeline.process_all(harness.ids)
    assert after.ran == []
    assert not harness.moves.failures
    assert not harness.moves.releases


@pytest.mark.parametrize("error", [ImageUnreadable("broken"), EmbedderUnavailable("away"), None])
async def test_a_zombie_writes_no_end(error: Exception | None) -> None:
    harness: Harness

    async def overtaken(work: Work) -> None:
        harness.moves.take_over(work.claim.id)
        if error is not None:
            raise error

    harness = Harness(StepStage("embed", overtaken))
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.EMBEDDING], "as its present owner has it"
    assert not harness.held


async def test_a_bad_image_fails_at_once() -> None:
    after = StepStage("embed")
    harness = Harness(StepStage("decode", raising(ImageUnreadable("cut off", code="image_truncated"))), after)
    await harness.pipeline.process_all(harness.ids)
    (failure,) = harness.moves.failures
    assert (failure.code, failure.message) == ("image_truncated", "cut off")
    assert harness.states == [ImageStatus.ERROR]
    assert after.ran == []


@pytest.mark.parametrize("error", [EmbedderUnavailable("away"), Overloaded("full")])
async def test_an_outage_postpones_and_costs_no_try(error: LikenessError) -> None:
    harness = Harness(StepStage("embed", raising(error, None)))
    for _ in range(3 * TRIES):
        harness.moves.status[harness.ids[0]] = ImageStatus.PENDING
        await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.DONE]
    (release,) = harness.moves.releases[:1]
    assert release.refund
    assert release.code == error.code
    assert release.delay.total_seconds() > 0


async def test_a_defect_costs_a_try_until_none_is_left() -> None:
    harness = Harness(StepStage("embed", raising(KeyError("a bug"))))
    for attempt in range(1, TRIES + 1):
        assert harness.states == [ImageStatus.PENDING]
        await harness.pipeline.process_all(harness.ids)
        assert harness.moves.tries_left[harness.ids[0]] == TRIES - attempt
    assert harness.states == [ImageStatus.ERROR]
    spent = [release for release in harness.moves.releases if not release.refund]
    assert [release.code for release in spent] == ["internal_error"] * (TRIES - 1)
    assert [failure.code for failure in harness.moves.failures] == ["internal_error"]


async def test_neighbours_are_unharmed() -> None:
    ends: dict[UUID, Exception] = {}

    async def step(work: Work) -> None:
        if work.claim.id in ends:
            raise ends[work.claim.id]

    harness = Harness(StepStage("decode", step), images=6)
    ends.update(zip(harness.ids, [ImageUnreadable("x"), EmbedderUnavailable("x"), ValueError("x")], strict=False))
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [
        ImageStatus.ERROR,
        ImageStatus.PENDING,
        ImageStatus.PENDING,
        ImageStatus.DONE,
        ImageStatus.DONE,
        ImageStatus.DONE,
    ]


async def test_a_claim_that_fails_leaves_the_row_to_the_sweep() -> None:
    stage = StepStage("fetch")
    harness = Harness(stage)
    harness.moves.down = DatabaseUnavailable("away")
    await harness.pipeline.process_all(harness.ids)
    assert stage.ran == []
    harness.moves.down = None
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.DONE]


@pytest.mark.parametrize("error", [ImageUnreadable("broken"), EmbedderUnavailable("away"), KeyError("a bug")])
async def test_an_end_that_can_not_be_written_is_left_to_the_lease(error: Exception) -> None:
    harness: Harness

    async def step(_: Work) -> None:
        harness.moves.down = DatabaseUnavailable("away")
        raise error

    harness = Harness(StepStage("decode", step))
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.EMBEDDING]
    assert not harness.held


async def test_the_same_image_twice_runs_once() -> None:
    gate = Gate()
    harness = Harness(StepStage("fetch", gate))
    first = asyncio.create_task(harness.pipeline.process_all(harness.ids * 3))
    await gate.entered.acquire()
    again = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, again)
    assert harness.moves.claimed == harness.ids


async def test_who_hints_at_what_is_on_its_way_waits_for_it() -> None:
    """Otherwise the sweep, which asks for as long as it finds a full batch of due images, would spin."""
    gate = Gate()
    harness = Harness(StepStage("fetch", gate), images=2, images_in_flight=1)
    first = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    await gate.entered.acquire()
    again = asyncio.create_task(harness.pipeline.process_all(harness.ids))
    done, _ = await asyncio.wait([again], timeout=0.01)
    gate.open.set()
    await asyncio.gather(first, again)
    assert not done, "it returned before the images were settled"


async def test_an_image_overtaken_by_a_promotion_waits_for_its_next_turn() -> None:
    async def index(work: Work) -> None:
        work.indexed = {1}

    harness = Harness(StepStage("index", index))
    harness.moves.demanded = 2
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.PENDING]
    assert not harness.held
    harness.moves.demanded = 1
    await harness.pipeline.process_all(harness.ids)
    assert harness.states == [ImageStatus.DONE]
