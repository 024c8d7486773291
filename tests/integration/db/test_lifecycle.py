"""The state machine in SQL, on a real PostgreSQL: fences, leases, races, and agreement with `common.status`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import images, lifecycle
from common.db.attempts import LEASE, Claim, Failure, Fence, Finish, Release
from common.db.engine import Database
from common.db.images import NewImage
from common.db.models import LOCAL_FOLDER_ID, LOCAL_OWNER_ID, TRIES, Image
from common.status import ImageStatus, can_claim, can_move

NONE_LEFT = timedelta(seconds=-1)
Move = Callable[[AsyncSession, Sequence[Claim]], Awaitable[set[UUID]]]


def new_image(sha256: str | None = None) -> NewImage:
    sha256 = sha256 or uuid4().hex * 2
    return NewImage(
        LOCAL_OWNER_ID, LOCAL_FOLDER_ID, sha256, f"sha256/{sha256}", "a.jpg", "image/jpeg", 10, width=1, height=1
    )


async def pending_images(database: Database, number: int) -> list[UUID]:
    async with database.begin() as session:
        recorded = await images.record(session, [new_image() for _ in range(number)])
        ids = [row.image.id for row in recorded if row is not None]
        assert set(await lifecycle.mark_stored(session, ids)) == set(ids)
    return ids


async def claim(database: Database, ids: list[UUID], lease: timedelta = LEASE) -> list[Claim]:
    async with database.begin() as session:
        return await lifecycle.claim(session, ids, "worker-a", lease)


async def load(database: Database, image_id: UUID) -> Image:
    async with database.begin() as session:
        return await images.get(session, LOCAL_OWNER_ID, image_id)


async def set_status(database: Database, image_id: UUID, status: ImageStatus, *, lease: timedelta) -> None:
    """Put a row into a state, however the state machine feels about it."""
    leased = status in {ImageStatus.EMBEDDING, ImageStatus.INDEXING}
    async with database.begin() as session:
        await session.execute(
            text(
                "UPDATE images SET status = :status, attempt = 1, "
                "lease_until = CASE WHEN :leased THEN now() + CAST(:lease AS interval) END, "
                "error_code = CASE WHEN :status = 'error' THEN 'broken' END WHERE id = :id"
            ),
            {"status": status, "leased": leased, "lease": lease, "id": image_id},
        )


async def advance(session: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    return set(await lifecycle.advance(session, [item.fence for item in claims]))


async def finish(session: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    finished = await lifecycle.finish(session, [Finish(item.fence, item.payload_version) for item in claims])
    return {id_ for id_, end in finished.items() if end.done}


async def fail(session: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    return set(await lifecycle.fail(session, [Failure(item.fence, "broken", "It is broken.") for item in claims]))


async def release(session: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    return set(await lifecycle.release(session, [Release(item.fence, timedelta(0), refund=True) for item in claims]))


MOVES: dict[ImageStatus, Move] = {
    ImageStatus.INDEXING: advance,
    ImageStatus.DONE: finish,
    ImageStatus.ERROR: fail,
    ImageStatus.PENDING: release,
}


async def test_an_image_goes_from_created_to_done_and_its_history_says_so(database: Database) -> None:
    (image_id,) = await pending_images(database, 1)
    (owned,) = await claim(database, [image_id])
    async with database.begin() as session:
        assert await advance(session, [owned]) == {image_id}
    async with database.begin() as session:
        assert await finish(session, [owned]) == {image_id}

    image = await load(database, image_id)
    assert (image.status, image.attempt, image.tries_left) == ("done", 1, TRIES - 1)
    assert image.lease_until is None
    assert image.indexed_at is not None
    assert image.indexed_version == image.payload_version
    async with database.begin() as session:
        events = await images.list_events(session, image_id)
    assert [(event.from_status, event.to_status, event.attempt, event.worker) for event in events] == [
        (None, "created", 0, None),
        ("created", "pending", 0, None),
        ("pending", "embedding", 1, "worker-a"),
        ("embedding", "indexing", 1, "worker-a"),
        ("indexing", "done", 1, "worker-a"),
    ]


@pytest.mark.parametrize("current", list(ImageStatus))
@pytest.mark.parametrize("target", list(MOVES))
async def test_moves_are_exactly_those_of_the_state_machine(
    database: Database, current: ImageStatus, target: ImageStatus
) -> None:
    (image_id,) = await pending_images(database, 1)
    (owned,) = await claim(database, [image_id])
    await set_status(database, image_id, current, lease=LEASE)
    async with database.begin() as session:
        moved = await MOVES[target](session, [owned])
    # Fenced moves start from leased states alone; `created` and `error` have moves of their own.
    leased = current in {ImageStatus.EMBEDDING, ImageStatus.INDEXING}
    assert bool(moved) == (leased and can_move(current, target))
    assert (await load(database, image_id)).status == (target if moved else current)


@pytest.mark.parametrize("current", list(ImageStatus))
async def test_claims_are_exactly_those_of_the_state_machine(database: Database, current: ImageStatus) -> None:
    (image_id,) = await pending_images(database, 1)
    await set_status(database, image_id, current, lease=NONE_LEFT)
    assert bool(await claim(database, [image_id])) == can_claim(current)


async def test_of_forty_concurrent_claims_one_wins(database: Database) -> None:
    ids = await pending_images(database, 3)
    claimed = await asyncio.gather(*(claim(database, ids) for _ in range(40)))
    assert sorted(item.id for claims in claimed for item in claims) == sorted(ids)


async def test_a_live_lease_is_respected_and_an_expired_one_is_not(database: Database) -> None:
    (image_id,) = await pending_images(database, 1)
    (first,) = await claim(database, [image_id])
    assert await claim(database, [image_id]) == []
    await set_status(database, image_id, ImageStatus.INDEXING, lease=NONE_LEFT)
    (second,) = await claim(database, [image_id])
    assert second.attempt == first.attempt + 1
    assert (await load(database, image_id)).status == "embedding"


@pytest.mark.parametrize("move", MOVES.values(), ids=list(MOVES))
async def test_a_zombie_moves_nothing(database: Database, move: Move) -> None:
    (image_id,) = await pending_images(database, 1)
    (zombie,) = await claim(database, [image_id], lease=NONE_LEFT)
    async with database.begin() as session:
        assert await move(session, [zombie]) == set(), "its lease has run out"
    (owner,) = await claim(database, [image_id])
    async with database.begin() as session:
        assert await move(session, [zombie]) == set(), "another attempt owns the image"
        assert await lifecycle.renew(session, [zombie.fence, owner.fence]) == {image_id}
        assert await lifecycle.renew(session, [zombie.fence]) == set()


async def test_one_statement_moves_the_owned_and_leaves_the_lost(database: Database) -> None:
    ids = await pending_images(database, 5)
    claims = await claim(database, ids)
    lost = {claims[1].id, claims[3].id}
    fences = [Fence(item.id, item.attempt + (item.id in lost)) for item in claims]
    async with database.begin() as session:
        assert set(await lifecycle.advance(session, fences)) == set(ids) - lost


async def test_release_delays_and_refunds(database: Database) -> None:
    ids = await pending_images(database, 2)
    refunded, charged = await claim(database, ids)
    async with database.begin() as session:
        await lifecycle.release(
            session,
            [
                Release(refunded.fence, timedelta(0), refund=True, code="storage_unavailable"),
                Release(charged.fence, timedelta(hours=1), refund=False, code="internal_error"),
            ],
        )
    assert (await load(database, refunded.id)).tries_left == TRIES
    assert (await load(database, charged.id)).tries_left == TRIES - 1
    assert [item.id for item in await claim(database, ids)] == [refunded.id], "the other one is not due yet"


async def test_silent_deaths_end_in_poison_suspected(database: Database) -> None:
    (image_id,) = await pending_images(database, 1)
    for _ in range(TRIES):
        assert await claim(database, [image_id], lease=NONE_LEFT)
    assert await claim(database, [image_id]) == [], "no try is left"
    async with database.begin() as session:
        assert set(await lifecycle.bury(session)) == {image_id}
        assert await lifecycle.bury(session) == {}
    image = await load(database, image_id)
    assert (image.status, image.error_code, image.attempt) == ("error", "poison_suspected", TRIES)


async def test_a_lease_from_before_postgresql_was_started_costs_no_try(database: Database) -> None:
    """Nobody could renew it meanwhile: that it ran out tells of no death, not even on the last try."""
    (image_id,) = await pending_images(database, 1)
    for _ in range(TRIES):
        await claim(database, [image_id], lease=NONE_LEFT)
    async with database.begin() as session:
        before = "UPDATE images SET updated_at = pg_postmaster_start_time() - interval '1 second' WHERE id = :id"
        await session.execute(text(before), {"id": image_id})
        assert await lifecycle.bury(session) == {}
        assert await lifecycle.find_due(session, overdue=timedelta(0), limit=10) == [image_id]
    (again,) = await claim(database, [image_id], lease=NONE_LEFT)
    assert (again.attempt, again.tries_left) == (TRIES + 1, 0)
    async with database.begin() as session:
        assert set(await lifecycle.bury(session)) == {image_id}


async def test_requeue_restores_the_tries_and_keeps_the_fence(database: Database) -> None:
    failed, busy = await pending_images(database, 2)
    claims = await claim(database, [failed, busy])
    async with database.begin() as session:
        await fail(session, [item for item in claims if item.id == failed])
    image = await load(database, failed)
    assert (image.error_code, image.error_message) == ("broken", "It is broken.")

    async with database.begin() as session:
        assert set(await lifecycle.requeue(session, [failed, busy], "tester")) == {failed}, "a live lease is refused"
    image = await load(database, failed)
    assert (image.status, image.attempt, image.tries_left, image.error_code) == ("pending", 1, TRIES, None)


@pytest.mark.parametrize("current", list(ImageStatus))
async def test_only_what_is_done_is_redone(database: Database, current: ImageStatus) -> None:
    (image_id,) = await pending_images(database, 1)
    await set_status(database, image_id, current, lease=LEASE)
    async with database.begin() as session:
        assert await lifecycle.redo(session, [Fence(image_id, 2)], "auditor", "thumbnail_missing") == {}
        moved = await lifecycle.redo(session, [Fence(image_id, 1)], "auditor", "thumbnail_missing")
    assert bool(moved) == (current is ImageStatus.DONE and can_move(current, ImageStatus.PENDING))
    assert (await load(database, image_id)).status == (ImageStatus.PENDING if moved else current)


async def test_redoing_restores_the_tries_keeps_the_fence_and_says_why(database: Database) -> None:
    (image_id,) = await pending_images(database, 1)
    claims = await claim(database, [image_id])
    async with database.begin() as session:
        await advance(session, claims)
        await finish(session, claims)
        await lifecycle.redo(session, [claims[0].fence], "auditor", "thumbnail_missing")
        event = (await images.list_events(session, image_id))[-1]
    image = await load(database, image_id)
    assert (image.status, image.attempt, image.tries_left, image.error_code) == ("pending", 1, TRIES, None)
    assert (event.from_status, event.to_status, event.worker, event.error_code) == (
        "done",
        "pending",
        "auditor",
        "thumbnail_missing",
    )
    assert len(await claim(database, [image_id])) == 1, "it can be claimed at once"


async def test_due_is_what_is_overdue_or_abandoned(database: Database) -> None:
    waiting, abandoned, busy = await pending_images(database, 3)
    await set_status(database, abandoned, ImageStatus.EMBEDDING, lease=NONE_LEFT)
    await claim(database, [busy])
    async with database.begin() as session:
        assert set(await lifecycle.find_due(session, overdue=timedelta(0), limit=10)) == {waiting, abandoned}
        assert await lifecycle.find_due(session, overdue=timedelta(seconds=15), limit=10) == [abandoned]
        assert len(await lifecycle.find_due(session, overdue=timedelta(0), limit=1)) == 1


async def test_batches_in_opposite_orders_do_not_deadlock(database: Database) -> None:
    ids = await pending_images(database, 50)
    fences = [item.fence for item in await claim(database, ids)]

    async def renew(order: list[Fence]) -> set[UUID]:
        async with database.begin() as session:
            return await lifecycle.renew(session, order)

    results = await asyncio.gather(*(renew(order) for _ in range(20) for order in (fences, fences[::-1])))
    assert all(result == set(ids) for result in results)
