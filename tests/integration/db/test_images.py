"""Rows of images on a real PostgreSQL: listing, editing, deleting, and other people's images."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.db import images, lifecycle
from common.db.attempts import LEASE, Failure
from common.db.engine import Database
from common.db.images import GRACE, ImageFilter, NewImage
from common.db.models import LOCAL_FOLDER_ID, LOCAL_OWNER_ID, Image, Tombstone
from common.errors import NotFound
from tests.fixtures.rows import (
    age,
    count,
    create_folder,
    create_owner,
    exists,
    load,
    new_image,
    record,
    record_done,
    record_pending,
)

MINE = ImageFilter(LOCAL_OWNER_ID)


async def list_all(database: Database, wanted: ImageFilter = MINE) -> set[UUID]:
    async with database.begin() as session:
        return {image.id for image in await images.list_page(session, wanted, limit=1000, after=None)}


async def test_pages_are_stable_when_everything_came_at_the_same_time(database: Database) -> None:
    rows = await record(database, *(new_image() for _ in range(25)))  # one transaction: one timestamp
    assert len({row.created_at for row in rows}) == 1
    seen: list[UUID] = []
    after = None
    async with database.begin() as session:
        # An index would give the rows in this order anyway; the query must ask for it.
        await session.execute(text("SET LOCAL enable_indexscan = off"))
        await session.execute(text("SET LOCAL enable_bitmapscan = off"))
        while page := await images.list_page(session, MINE, limit=10, after=after):
            seen += [image.id for image in page]
            after = (page[-1].created_at, page[-1].id)
    assert seen == sorted((row.id for row in rows), reverse=True)


async def test_what_is_added_while_paging_shifts_no_page(database: Database) -> None:
    old = [(await record(database, new_image()))[0] for _ in range(4)]
    async with database.begin() as session:
        first = await images.list_page(session, MINE, limit=2, after=None)
    assert [image.id for image in first] == [old[3].id, old[2].id], "newest first"
    await record(database, new_image())
    async with database.begin() as session:
        rest = await images.list_page(session, MINE, limit=10, after=(first[-1].created_at, first[-1].id))
    assert [image.id for image in rest] == [old[1].id, old[0].id]


async def test_a_position_beyond_everything_is_the_end(database: Database) -> None:
    await record(database, new_image())
    async with database.begin() as session:
        assert await images.list_page(session, MINE, limit=10, after=(datetime(1970, 1, 1, tzinfo=UTC), uuid4())) == []


async def test_filters_narrow_a_listing_together(database: Database) -> None:
    folder_id = await create_folder(database)
    shoes, hats, elsewhere = await record(
        database,
        new_image(category="shoes", tags=["brown", "sale"]),
        new_image(category="hats", tags=["brown"]),
        new_image(category="shoes", tags=[], folder_id=folder_id),
    )
    async with database.begin() as session:
        await lifecycle.mark_stored(session, [shoes.id])

    async def listed(**wanted: Any) -> set[UUID]:
        return await list_all(database, ImageFilter(LOCAL_OWNER_ID, **wanted))

    assert await listed() == {shoes.id, hats.id, elsewhere.id}
    assert await listed(category="shoes") == {shoes.id, elsewhere.id}
    assert await listed(tag="brown") == {shoes.id, hats.id}
    assert await listed(tag="brow") == set()
    assert await listed(status="pending") == {shoes.id}
    assert await listed(folder_id=folder_id) == {elsewhere.id}
    assert await listed(folder_id=LOCAL_FOLDER_ID, category="shoes") == {shoes.id}
    assert await listed(category="hats", tag="sale") == set()


INDEXED: Sequence[dict[str, Any]] = [
    {"category": "hats"},
    {"category": None},
    {"tags": ["red"]},
    {"tags": [], "title": "x"},
    {"attributes": {"a": 1}},
    {"visibility": "hidden"},
]
NOT_INDEXED: Sequence[dict[str, Any]] = [{"title": "x"}, {"description": None}, {"title": None, "description": "x"}]


@pytest.mark.parametrize("changes", [*INDEXED, *NOT_INDEXED])
async def test_an_edit_changes_what_it_names_and_concerns_the_index_only_if_that_filters_by_it(
    database: Database, changes: dict[str, Any]
) -> None:
    (image,) = await record(database, new_image(title="Oxford", category="shoes", tags=["brown"]))
    async with database.begin() as session:
        edited = await images.edit(session, LOCAL_OWNER_ID, image.id, changes)
    fresh = await load(database, image.id)
    for row in (edited, fresh):
        assert {name: getattr(row, name) for name in changes} == changes
        assert row.payload_version == image.payload_version + (changes in INDEXED)
        assert row.updated_at > image.updated_at
    untouched = {"title", "category", "tags", "description", "attributes", "status"} - changes.keys()
    assert {name: getattr(fresh, name) for name in untouched} == {name: getattr(image, name) for name in untouched}


async def test_an_edit_of_nothing_changes_nothing(database: Database) -> None:
    (image,) = await record(database, new_image())
    async with database.begin() as session:
        assert (await images.edit(session, LOCAL_OWNER_ID, image.id, {})).updated_at == image.updated_at


async def test_every_one_of_many_edits_at_once_is_counted(database: Database) -> None:
    (image,) = await record(database, new_image())

    async def edit(number: int) -> None:
        async with database.begin() as session:
            await images.edit(session, LOCAL_OWNER_ID, image.id, {"category": str(number)})

    await asyncio.gather(*map(edit, range(20)))
    assert (await load(database, image.id)).payload_version == image.payload_version + 20


async def test_delete_leaves_a_tombstone_until_no_worker_can_be_at_it(database: Database) -> None:
    (image,) = await record_done(database, new_image())
    async with database.begin() as session:
        assert await images.delete(session, LOCAL_OWNER_ID, image.id) == image.sha256
    assert not await exists(database, image.id)
    assert await count(database, "image_events") == 0
    async with database.begin() as session:
        stone = await session.get_one(Tombstone, image.id)
        now = await session.scalar(text("SELECT now()"))
        assert stone.sha256 == image.sha256
        assert GRACE - timedelta(minutes=1) < stone.purge_after - now <= GRACE
        with pytest.raises(NotFound):
            await images.delete(session, LOCAL_OWNER_ID, image.id)
    assert GRACE > LEASE


async def test_another_owners_image_is_not_there(database: Database) -> None:
    owner_id, folder_id = await create_owner(database)
    (theirs,) = await record_pending(database, new_image(owner_id=owner_id, folder_id=folder_id))
    (mine,) = await record_pending(database, new_image(theirs.sha256))
    async with database.begin() as session:
        for call in (
            images.get(session, LOCAL_OWNER_ID, theirs.id),
            images.get(session, LOCAL_OWNER_ID, theirs.id, for_update=True),
            images.edit(session, LOCAL_OWNER_ID, theirs.id, {"title": "mine now"}),
            images.delete(session, LOCAL_OWNER_ID, theirs.id),
        ):
            with pytest.raises(NotFound) as caught:
                await call
            assert caught.value.code == "image_not_found"
        assert not await images.owns_folder(session, LOCAL_OWNER_ID, folder_id)
        assert await images.owns_folder(session, owner_id, folder_id)
        assert not await images.owns_folder(session, owner_id, uuid4())
    assert await list_all(database) == {mine.id}
    assert await list_all(database, ImageFilter(LOCAL_OWNER_ID, folder_id=folder_id)) == set()
    assert (await load(database, theirs.id)).title is None


async def test_states_are_told_of_ones_own_images(database: Database) -> None:
    owner_id, folder_id = await create_owner(database)
    (theirs,) = await record(database, new_image(owner_id=owner_id, folder_id=folder_id))
    mine, failed = await record_pending(database, new_image(), new_image())
    async with database.begin() as session:
        claims = await lifecycle.claim(session, [failed.id], "tests")
        await lifecycle.fail(session, [Failure(claims[0].fence, "image_truncated", "cut off")])
        states = await images.find_states(session, LOCAL_OWNER_ID, [mine.id, failed.id, theirs.id, uuid4()])
    assert {id_: (state.status, state.error_code, state.error_message) for id_, state in states.items()} == {
        mine.id: ("pending", None, None),
        failed.id: ("error", "image_truncated", "cut off"),
    }


async def test_stale_payloads_are_those_of_done_images_edited_since(database: Database) -> None:
    fresh, stale = await record_done(database, new_image(), new_image())
    (waiting,) = await record_pending(database, new_image())

    async def find() -> list[UUID]:
        async with database.begin() as session:
            return [image.id for image in await images.find_stale_payloads(session, limit=10)]

    assert await find() == []
    async with database.begin() as session:
        for image in (stale, waiting):
            edited = await images.edit(session, LOCAL_OWNER_ID, image.id, {"tags": ["new"]})
        await images.edit(session, LOCAL_OWNER_ID, fresh.id, {"title": "new"})
    assert await find() == [stale.id]
    async with database.begin() as session:
        edited = await images.get(session, LOCAL_OWNER_ID, stale.id)
        assert await images.mark_payload_indexed(session, edited) is None
    assert await find() == []


async def test_a_payload_written_too_late_says_what_to_write_instead(database: Database) -> None:
    (image,) = await record_done(database, new_image())
    async with database.begin() as session:
        await images.edit(session, LOCAL_OWNER_ID, image.id, {"tags": ["new"]})
    async with database.begin() as session:
        current = await images.mark_payload_indexed(session, image)
    assert current is not None
    assert current.tags == ["new"]
    assert (await load(database, image.id)).indexed_version == image.indexed_version
    async with database.begin() as session:
        await images.delete(session, LOCAL_OWNER_ID, image.id)
    async with database.begin() as session:
        assert await images.mark_payload_indexed(session, image) is None, "there is nothing left to write"


async def test_unsettled_are_old_uploads_that_never_became_pending(database: Database) -> None:
    old, _young = await record(database, new_image(), new_image())
    (stored,) = await record_pending(database, new_image())
    for image in (old, stored):
        await age(database, image.id, timedelta(minutes=5))
    async with database.begin() as session:
        found = await images.find_unsettled(session, older_than=timedelta(minutes=1), limit=10)
        assert [image.id for image in found] == [old.id]
        assert await images.find_unsettled(session, older_than=timedelta(minutes=10), limit=10) == []


@pytest.mark.parametrize(("stored", "aged", "expires"), [(False, 61, True), (False, 59, False), (True, 61, False)])
async def test_only_old_uploads_without_object_expire(
    database: Database, stored: bool, aged: int, expires: bool
) -> None:
    (image,) = await (record_pending if stored else record)(database, new_image())
    await age(database, image.id, timedelta(minutes=aged))
    async with database.begin() as session:
        assert await images.expire_unsettled(session, image.id, older_than=timedelta(hours=1)) is expires
    assert await exists(database, image.id) is not expires
    assert await count(database, "tombstones") == expires


async def test_the_history_of_an_image_is_in_order(database: Database) -> None:
    (image,) = await record_done(database, new_image())
    await record_done(database, new_image())
    async with database.begin() as session:
        events = await images.list_events(session, image.id)
    assert {event.image_id for event in events} == {image.id}
    assert [event.to_status for event in events] == ["created", "pending", "embedding", "indexing", "done"]
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_every_column_of_an_upload_is_a_column_of_the_row() -> None:
    assert set(NewImage.__slots__) <= set(Image.__table__.columns.keys())
