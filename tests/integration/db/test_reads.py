"""What every search reads past the object mapper is what the mapper would say."""

from uuid import uuid4

import numpy as np
from sqlalchemy import text

from common.db import embedding_models, embeddings
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, EmbeddingModel
from common.db.reads import ShownImage, find_live, find_shown, find_stored
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
    (shown,) = (await find_shown(database, LOCAL_OWNER_ID, [image.id])).by_id.values()
    assert shown._asdict() == {name: getattr(row, name) for name in ShownImage._fields}
    assert shown.attributes == {"price": 9.5, "sizes": [1, 2]}


async def test_only_the_owners_images_that_exist_are_shown(database: Database) -> None:
    owner_id, folder_id = await create_owner(database)
    (theirs,) = await record_pending(database, new_image(owner_id=owner_id, folder_id=folder_id))
    (mine,) = await record_pending(database, new_image())
    assert (await find_shown(database, LOCAL_OWNER_ID, [mine.id, theirs.id, uuid4()])).by_id.keys() == {mine.id}
    assert (await find_shown(database, LOCAL_OWNER_ID, [])).by_id == {}


async def test_live_models_come_in_order(database: Database) -> None:
    older = await add_model(database, "older")
    await add_model(database, "gone", state="retired")
    active = await activate_model(database)
    younger = await add_model(database, "younger")
    live = (await find_live(database)).models
    async with database.read() as session:
        expected = await embedding_models.list_live(session)
    assert [model.id for model in expected] == [active.id, older.id, younger.id]
    for model, like in zip(live, expected, strict=True):
        assert {name: getattr(model, name) for name in COLUMNS} == {name: getattr(like, name) for name in COLUMNS}


async def test_whatever_becomes_of_the_live_models_their_version_is_another_one(database: Database) -> None:
    async def version() -> str:
        live, shown = await find_live(database), await find_shown(database, LOCAL_OWNER_ID, [uuid4()])
        assert shown.live_version == live.version
        return live.version

    async def change(statement: str) -> str:
        async with database.begin() as session:
            await session.execute(text(statement))
        return await version()

    versions = [await version()]
    active = await activate_model(database)
    versions.append(await version())
    other = await add_model(database, "other")
    versions.append(await version())
    versions.append(await change(f"UPDATE embedding_models SET thresholds = '{{}}' WHERE id = {active.id}"))  # noqa: S608
    versions.append(await change(f"UPDATE embedding_models SET thresholds = '{{}}' WHERE id = {active.id}"))  # noqa: S608
    versions.append(await change(f"UPDATE embedding_models SET state = 'retired' WHERE id = {other.id}"))  # noqa: S608
    assert len(set(versions)) == len(versions)
    assert await version() == versions[-1]
    await add_model(database, "gone", state="retired")
    assert await version() == versions[-1]


async def test_vectors_are_the_models_of_the_owners_images(database: Database) -> None:
    active, other = await activate_model(database), await add_model(database, "other")
    owner_id, folder_id = await create_owner(database)
    (theirs,) = await record_pending(database, new_image(owner_id=owner_id, folder_id=folder_id))
    known, unknown = await record_pending(database, new_image(), new_image())
    async with database.begin() as session:
        await embeddings.save(session, active.id, {known.sha256: unit_vector(1), theirs.sha256: unit_vector(1)})
        await embeddings.save(session, other.id, {known.sha256: unit_vector(2)})
    ids = [known.id, unknown.id, theirs.id, uuid4()]
    stored = await find_stored(database, LOCAL_OWNER_ID, ids, other.id)
    assert stored.keys() == {known.id, unknown.id}
    assert (stored[known.id].status, stored[unknown.id].status) == ("pending", "pending")
    assert stored[unknown.id].vector is None
    assert (vector := stored[known.id].vector) is not None
    assert np.array_equal(vector, unit_vector(2))
