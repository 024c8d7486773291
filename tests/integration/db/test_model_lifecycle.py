"""How models come and go, in rows: `done` always speaks of the model that is active now, whoever switches meanwhile."""

import asyncio
from collections.abc import Collection
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from common.db import (
    embedding_models,
    images,
    indexings,
    lifecycle,
    model_lifecycle,
    model_overview,
    operations,
    reembeds,
)
from common.db.attempts import Claim, Fence, Finish
from common.db.embedding_models import find_trial, label
from common.db.engine import Database
from common.db.models import TRIES, EmbeddingModel, Image, Indexing, Operation
from common.db.operations import REEMBED
from common.errors import Conflict, InfrastructureError, NotFound
from tests.fixtures.rows import activate_model, add_model, load, model_info, new_image, record_done, record_pending


@pytest.fixture
async def active(database: Database) -> EmbeddingModel:
    return await activate_model(database)


@pytest.fixture
async def building(database: Database, active: EmbeddingModel) -> EmbeddingModel:
    return await add_model(database)


async def claimed(database: Database, image: Image) -> Claim:
    """Take an image to `indexing`."""
    async with database.begin() as session:
        (owned,) = await lifecycle.claim(session, [image.id], "tests")
        await lifecycle.advance(session, [owned.fence])
    return owned


async def finish(database: Database, owned: Claim, *models: EmbeddingModel) -> tuple[bool, tuple[int, ...]]:
    async with database.begin() as session:
        ended = Finish(owned.fence, owned.payload_version, tuple(model.id for model in models))
        finished = (await lifecycle.finish(session, [ended]))[owned.id]
    return finished.done, finished.lacking


async def promote(database: Database, model: EmbeddingModel) -> None:
    async with database.begin() as session:
        await model_lifecycle.promote(session, label(model))


async def indexed(database: Database, image: Image) -> set[int]:
    async with database.begin() as session:
        return set(await session.scalars(select(Indexing.model_id).where(Indexing.image_id == image.id)))


async def add(database: Database, model: EmbeddingModel, rows: Collection[Image]) -> int:
    async with database.begin() as session:
        return len(await indexings.add(session, model.id, list(rows)))


async def active_label(database: Database) -> str:
    async with database.begin() as session:
        found = await embedding_models.find_active(session)
    assert found is not None
    return label(found)


async def test_done_needs_the_active_model_and_tells_which_building_ones_it_lacks(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    both, one = await record_pending(database, new_image(), new_image())
    assert await finish(database, await claimed(database, both), active, building) == (True, ())
    assert await finish(database, await claimed(database, one), active) == (True, (building.id,))
    assert (await indexed(database, both), await indexed(database, one)) == ({active.id, building.id}, {active.id})


async def test_an_attempt_overtaken_by_a_promotion_is_made_again_at_no_cost(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    (image,) = await record_pending(database, new_image())
    owned = await claimed(database, image)
    await promote(database, building)
    assert await finish(database, owned, active) == (False, ())
    row = await load(database, image.id)
    assert (row.status, row.tries_left, row.indexed_at, row.lease_owner) == ("pending", TRIES, None, None)
    async with database.begin() as session:
        assert (await images.list_events(session, image.id))[-1].error_code == "model_changed"
    assert (await finish(database, await claimed(database, image), building))[0]
    assert await indexed(database, image) == {building.id}


async def test_an_attempt_that_knew_both_models_survives_a_promotion(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    (image,) = await record_pending(database, new_image())
    owned = await claimed(database, image)
    await promote(database, building)
    assert await finish(database, owned, active, building) == (True, ())


async def test_what_an_image_done_again_is_not_in_any_more_is_forgotten(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    (image,) = await record_done(database, new_image())
    assert await indexed(database, image) == {active.id, building.id}
    async with database.begin() as session:
        await lifecycle.redo(session, [Fence(image.id, image.attempt)], "tests", "thumbnail_missing")
    assert await finish(database, await claimed(database, image), active) == (True, (building.id,))
    assert await indexed(database, image) == {active.id}


async def test_points_of_a_retired_model_are_not_noted(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    (image,) = await record_pending(database, new_image())
    owned = await claimed(database, image)
    async with database.begin() as session:
        await model_lifecycle.retire(session, label(building))
    assert await finish(database, owned, active, building) == (True, ())
    assert await indexed(database, image) == {active.id}


async def test_a_promotion_is_refused_while_images_are_missing(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    rows = await record_done(database, *(new_image() for _ in range(3)))
    async with database.begin() as session:
        await indexings.remove(session, building.id, [row.id for row in rows[:2]])
    with pytest.raises(Conflict, match=r"2 images .* `likeness reembed --model second/tests`") as refusal:
        await promote(database, building)
    assert refusal.value.code == "model_incomplete"
    assert await active_label(database) == label(active)
    assert await add(database, building, rows[:2]) == 2
    await promote(database, building)
    assert await active_label(database) == label(building)


async def test_rolling_back_twice_is_where_it_began(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    await record_done(database, new_image())
    async with database.begin() as session:
        with pytest.raises(NotFound):
            await model_lifecycle.roll_back(session)
    await promote(database, building)
    for expected in (active, building, active):
        async with database.begin() as session:
            switch = await model_lifecycle.roll_back(session)
        assert label(switch.active) == label(expected) == await active_label(database)
        assert switch.former.state == "building"
    with pytest.raises(Conflict, match="already"):
        await promote(database, active)
    with pytest.raises(NotFound, match="nobody/knows"):
        async with database.begin() as session:
            await model_lifecycle.promote(session, "nobody/knows")


async def waits_for_models(database: Database) -> None:
    """Return once somebody waits for the lock on the models' states."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with asyncio.timeout(30):
        while True:
            async with database.begin() as session:
                if await session.scalar(waiting):
                    return
            await asyncio.sleep(0.01)


async def test_a_promotion_waits_for_images_that_are_being_finished_and_sees_them(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    (image,) = await record_pending(database, new_image())
    owned = await claimed(database, image)
    async with database.begin() as session:
        await lifecycle.finish(session, [Finish(owned.fence, owned.payload_version, (active.id,))])
        promoting = asyncio.create_task(promote(database, building))
        await waits_for_models(database)
    with pytest.raises(Conflict, match="1 image that is done"):
        await promoting


async def test_who_finishes_during_a_promotion_waits_for_it_and_sees_it(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    (image,) = await record_pending(database, new_image())
    owned = await claimed(database, image)
    async with database.begin() as session:
        await model_lifecycle.promote(session, label(building))
        finishing = asyncio.create_task(finish(database, owned, active))
        await waits_for_models(database)
    assert not (await finishing)[0]


async def test_images_that_changed_since_their_points_were_written_are_not_noted(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    kept, edited, redone, deleted = await record_done(database, *(new_image() for _ in range(4)))
    rows = [kept, edited, redone, deleted]
    async with database.begin() as session:
        await indexings.remove(session, building.id, [row.id for row in rows])
        await images.edit(session, edited.owner_id, edited.id, {"category": "hats"})
        await lifecycle.redo(session, [Fence(redone.id, redone.attempt)], "tests", "thumbnail_missing")
        await images.delete(session, deleted.owner_id, deleted.id)
    async with database.begin() as session:
        assert await indexings.add(session, building.id, rows) == {kept.id}
        assert [row.id for row in await indexings.find_missing(session, building.id, after=None, limit=9)] == [
            edited.id
        ]
        assert await indexings.count_missing(session, building.id) == 1


async def test_a_retired_model_comes_back_with_another_collection_once_its_remains_are_gone(
    database: Database, active: EmbeddingModel
) -> None:
    served = model_info(pretrained="second")
    async with database.begin() as session:
        first = (await model_lifecycle.register(session, served)).collection
        assert (await model_lifecycle.register(session, served)).collection == first, "it is there"
    await record_done(database, new_image(), new_image())
    async with database.begin() as session:
        with pytest.raises(Conflict, match="promote another one first"):
            await model_lifecycle.retire(session, label(active))
        retired = await model_lifecycle.retire(session, served.label)
    with pytest.raises(InfrastructureError, match="still being removed"):
        async with database.begin() as session:
            await model_lifecycle.register(session, served)
    async with database.begin() as session:
        assert await indexings.forget_some(session, retired.id, 100) == 2
        assert await indexings.forget_some(session, retired.id, 100) == 0
    for generation in (2, 3):
        async with database.begin() as session:
            model = await model_lifecycle.register(session, served)
            assert (model.id, model.state, model.collection) == (retired.id, "building", f"{first}-{generation}")
            await model_lifecycle.retire(session, served.label)


async def test_on_trial_is_the_youngest_filled_model_that_was_never_active(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    async def on_trial() -> str | None:
        async with database.begin() as session:
            found = find_trial(await embedding_models.list_live(session))
        return None if found is None else label(found)

    await record_done(database, new_image())
    younger = await add_model(database, "third")
    assert await on_trial() is None
    async with database.begin() as session:
        assert await model_lifecycle.mark_filled(session, building.id)
        assert not await model_lifecycle.mark_filled(session, younger.id)
    assert await on_trial() == label(building)
    await promote(database, building)
    assert await on_trial() is None, "the former one has been tried"


async def fills(database: Database) -> list[Operation]:
    async with database.begin() as session:
        return list(await session.scalars(select(Operation).where(Operation.kind == REEMBED)))


async def test_images_left_behind_ask_for_one_fill_and_respect_a_pause(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    name = label(building)
    for _ in range(2):
        async with database.begin() as session:
            await reembeds.catch_up(session, [building.id])
    (asked,) = await fills(database)
    assert (asked.params, asked.origin) == ({"model": name}, "left_behind")
    async with database.begin() as session:
        assert (await reembeds.start(session, name, "cli")).id == asked.id
        assert await reembeds.pause(session, name) == [asked.id]
        await reembeds.catch_up(session, [building.id])
    (paused,) = await fills(database)
    assert paused.status == "paused"
    async with database.begin() as session:
        assert await operations.claim(session, [REEMBED], "a") is None
        assert (await reembeds.start(session, name, "cli")).id == asked.id
    (resumed,) = await fills(database)
    assert resumed.status == "queued"


async def test_pausing_takes_a_fill_from_whoever_does_it_and_one_is_to_follow_one_that_runs(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    name = label(building)
    async with database.begin() as session:
        await reembeds.start(session, name, "cli")
    async with database.begin() as session:
        owned = await operations.claim(session, [REEMBED], "a", timedelta(minutes=1))
    assert owned is not None
    async with database.begin() as session:
        assert (await reembeds.start(session, name, "cli")).id == owned.id
        await reembeds.catch_up(session, [building.id])
    assert {fill.status for fill in await fills(database)} == {"running", "queued"}
    async with database.begin() as session:
        assert len(await reembeds.pause(session, name)) == 2
        assert not await operations.report(session, owned, done=1, total=2)
        assert not await operations.renew(session, owned)
        await reembeds.give_up(session, name)
        assert await reembeds.find_live(session, name) is None
    assert {fill.error for fill in await fills(database)} == {"The model was retired."}


async def test_the_overview_counts_what_each_model_has_and_lacks(
    database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    rows = await record_done(database, *(new_image() for _ in range(3)))
    await record_pending(database, new_image())
    async with database.begin() as session:
        await indexings.remove(session, building.id, [rows[0].id])
        await reembeds.start(session, label(building), "cli")
        found = await model_overview.take(session)
    assert [(each.label, each.indexed, each.missing, each.fill and each.fill.status) for each in found] == [
        (label(active), 3, 0, None),
        (label(building), 2, 1, "queued"),
    ]
