"""Recording uploads on a real PostgreSQL: duplicates, names, races."""

import asyncio
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from common.db import images
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from tests.fixtures.rows import (
    count,
    create_folder,
    create_owner,
    load,
    new_image,
    record,
    record_done,
    try_record,
)


async def test_an_upload_becomes_a_row_with_all_it_came_with(database: Database) -> None:
    upload = new_image(
        external_id="sku-1",
        title="Oxford",
        description="A shoe.",
        category="shoes",
        tags=["brown", "leather"],
        attributes={"size": 43, "sold": None},
    )
    (recorded,) = await try_record(database, upload)
    assert recorded is not None
    assert recorded.created
    image = await load(database, recorded.image.id)
    assert {name: getattr(image, name) for name in upload.__slots__} == {
        name: getattr(upload, name) for name in upload.__slots__
    }
    assert (image.status, image.attempt, image.payload_version, image.indexed_version) == ("created", 0, 1, 0)


async def test_the_same_bytes_in_one_request_are_one_image(database: Database) -> None:
    first, second = new_image(), new_image()
    recorded = await try_record(database, first, second, first)
    assert [row is not None and row.created for row in recorded] == [True, True, False]
    assert recorded[0] is not None
    assert recorded[2] is not None
    assert recorded[0].image.id == recorded[2].image.id
    assert await count(database, "images") == 2
    assert await count(database, "image_events") == 2, "a duplicate is no event"


async def test_the_same_bytes_again_give_the_row_that_is_there_as_it_is(database: Database) -> None:
    upload = new_image(title="first")
    (image,) = await record_done(database, upload)
    events = await count(database, "image_events")
    (again,) = await try_record(database, new_image(upload.sha256, title="second"))
    assert again is not None
    assert not again.created
    assert (again.image.id, again.image.status, again.image.title) == (image.id, "done", "first")
    assert await count(database, "image_events") == events


async def test_results_come_in_the_order_of_the_uploads(database: Database) -> None:
    uploads = [new_image() for _ in range(20)]
    assert [row and row.image.sha256 for row in await try_record(database, *uploads)] == [
        upload.sha256 for upload in uploads
    ]


async def test_forty_racing_uploads_of_the_same_bytes_are_one_row(database: Database) -> None:
    upload = new_image()
    results = await asyncio.gather(*(try_record(database, upload) for _ in range(40)))
    rows = [row for (row,) in results if row is not None]
    assert len(rows) == 40
    assert len({row.image.id for row in rows}) == 1
    assert sum(row.created for row in rows) == 1
    assert await count(database, "images") == await count(database, "image_events") == 1


async def test_racing_requests_with_the_same_files_in_any_order_do_not_deadlock(database: Database) -> None:
    uploads = [new_image() for _ in range(20)]
    results = await asyncio.gather(
        *(try_record(database, *order) for _ in range(10) for order in (uploads, uploads[::-1]))
    )
    assert all(row is not None for rows in results for row in rows)
    assert await count(database, "images") == 20


async def test_another_folder_is_another_image(database: Database) -> None:
    upload = new_image()
    other = new_image(upload.sha256, folder_id=await create_folder(database))
    owner_id, folder_id = await create_owner(database)
    foreign = new_image(upload.sha256, owner_id=owner_id, folder_id=folder_id)
    recorded = await try_record(database, upload, other, foreign)
    assert [row is not None and row.created for row in recorded] == [True] * 3
    assert await count(database, "images") == 3


async def test_an_external_id_names_one_image_of_an_owner(database: Database) -> None:
    first = new_image(external_id="sku-1")
    assert await record(database, first)
    assert await try_record(database, new_image(external_id="sku-1")) == [None]
    other_folder = await create_folder(database)
    assert await try_record(database, new_image(external_id="sku-1", folder_id=other_folder)) == [None]
    assert await count(database, "images") == 1

    (again,) = await try_record(database, first)
    assert again is not None
    assert not again.created, "sending the same upload again is safe"

    owner_id, folder_id = await create_owner(database)
    (theirs,) = await try_record(database, new_image(external_id="sku-1", owner_id=owner_id, folder_id=folder_id))
    assert theirs is not None
    assert theirs.created, "names are each owner's own"


async def test_a_taken_external_id_harms_no_neighbour(database: Database) -> None:
    await record(database, new_image(external_id="taken"))
    recorded = await try_record(database, new_image(), new_image(external_id="taken"), new_image())
    assert [row is not None and row.created for row in recorded] == [True, False, True]
    assert recorded[1] is None


class Interrupted:
    """A session in which, after the first insert, someone else does something."""

    def __init__(self, session: AsyncSession, happens: Any) -> None:
        self._session = session
        self._happens = happens

    async def scalars(self, statement: Any, *args: Any) -> Any:
        result = await self._session.scalars(statement, *args)
        if getattr(statement, "is_insert", False) and self._happens is not None:
            happens, self._happens = self._happens, None
            await happens()
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


async def test_a_row_deleted_while_it_is_uploaded_again_makes_way_for_a_new_one(database: Database) -> None:
    upload, fresh = new_image(), new_image()
    (old,) = await record_done(database, upload)

    async def delete() -> None:
        async with database.begin() as session:
            await images.delete(session, LOCAL_OWNER_ID, old.id)

    async with database.begin() as session:
        interrupted = cast(AsyncSession, Interrupted(session, delete))
        recorded = await images.record(interrupted, [upload, fresh, upload])
    assert [row is not None and row.created for row in recorded] == [True, True, False]
    assert recorded[0] is not None
    assert recorded[0].image.id != old.id
    assert await count(database, "images") == 2
