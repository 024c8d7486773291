"""What every search reads past the object mapper is what the mapper would say."""

from dataclasses import fields
from uuid import uuid4

import numpy as np

from common.db import embedding_models, embeddings
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, EmbeddingModel
from common.db.reads import ShownImage, find_live, find_shown
from tests.fixtures.rows import (
    activate_model,
    add_model,
    create_owner,
    load,
    new_image,
    record_done,
    record_pending,
    unit_vector,
)

COLUMNS = [column.name for column in EmbeddingModel.__table__.columns]


async def test_a_shown_image_is_its_row(database: Database) -> None:
    described = new_image(tags=["red", "blue"], attributes={"price": 9.5, "sizes": [1, 2]}, title="Schuh", category="x")
    (image,) = await record_done(database, described)
    row = await load(database, image.id)
    (shown,) = (await find_shown(database, LOCAL_OWNER_ID, [image.id])).values()
    assert {field.name: getattr(shown, field.name) for field in fields(ShownImage)} == {
        field.name: getattr(row, field.name) for field in fields(ShownImage)
    }
    assert shown.attributes == {"price": 9.5, "sizes": [1, 2]}


async def test_only_the_owners_images_that_exist_are_shown(database: Database) -> None:
    owner_id, folder_id = await create_owner(database)
    (theirs,) = await record_pending(database, new_image(owner_id=owner_id, folder_id=folder_id))
    (mine,) = await record_pending(database, new_image())
    assert (await find_shown(database, LOCAL_OWNER_ID, [mine.id, theirs.id, uuid4()])).keys() == {mine.id}
    assert await find_shown(database, LOCAL_OWNER_ID, []) == {}


async def test_without_a_model_images_are_found_all_the_same(database: Database) -> None:
    (image,) = await record_pending(database, new_image())
    live, stored = await find_live(database, LOCAL_OWNER_ID, [image.id, uuid4()])
    assert live == []
    assert stored.keys() == {image.id}
    assert (stored[image.id].status, stored[image.id].by_model) == ("pending", {})


async def test_live_models_come_in_order_with_what_they_have(database: Database) -> None:
    older = await add_model(database, "older")
    await add_model(database, "gone", state="retired")
    active = await activate_model(database)
    younger = await add_model(database, "younger")
    owner_id, folder_id = await create_owner(database)
    (theirs,) = await record_pending(database, new_image(owner_id=owner_id, folder_id=folder_id))
    known, other = await record_pending(database, new_image(), new_image())
    async with database.begin() as session:
        await embeddings.save(session, active.id, {known.sha256: unit_vector(1), theirs.sha256: unit_vector(1)})
        await embeddings.save(session, younger.id, {known.sha256: unit_vector(2)})
    live, stored = await find_live(database, LOCAL_OWNER_ID, [known.id, other.id, theirs.id, uuid4()])
    async with database.read() as session:
        expected = await embedding_models.list_live(session)
    assert [model.id for model in expected] == [active.id, older.id, younger.id]
    for model, like in zip(live, expected, strict=True):
        assert {name: getattr(model, name) for name in COLUMNS} == {name: getattr(like, name) for name in COLUMNS}
    assert stored.keys() == {known.id, other.id}
    assert stored[known.id].status == "pending"
    assert stored[known.id].by_model.keys() == {active.id, younger.id}
    assert np.array_equal(stored[known.id].by_model[younger.id], unit_vector(2))
    assert stored[other.id].by_model == {}


async def test_images_need_not_be_asked_for(database: Database) -> None:
    active = await activate_model(database)
    live, stored = await find_live(database, LOCAL_OWNER_ID, [])
    assert ([model.id for model in live], stored) == ([active.id], {})
