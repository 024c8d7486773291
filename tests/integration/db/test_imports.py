"""Imports in SQL, on a real PostgreSQL: claims without leases, fenced moves, and rows that have no bytes yet."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import images, imports, inventory, lifecycle, overview
from common.db.attempts import Failure
from common.db.engine import Database
from common.db.imports import Download, DownloadClaim, NewImport
from common.db.models import LOCAL_FOLDER_ID, LOCAL_OWNER_ID, TRIES, Image, Tombstone
from common.errors import NotFound
from common.imaging import Header, ImageFormat
from common.status import ImageStatus, can_move
from common.storage import object_key
from tests.fixtures.rows import (
    age,
    count,
    create_folder,
    exists,
    load,
    new_image,
    new_import,
    record,
    record_done,
    record_import,
)

AT_ONCE = timedelta(0)
HIDDEN = timedelta(minutes=1)
OVER = timedelta(seconds=-1)
OF_THE_BYTES = ("sha256", "object_key", "media_type", "byte_size", "width", "height")
Move = Callable[[AsyncSession, DownloadClaim], Awaitable[bool]]


def downloaded(sha256: str | None = None) -> Download:
    return Download(sha256 or uuid4().hex * 2, 10, Header(ImageFormat.PNG, 3, 2))


async def claim(database: Database, hidden: timedelta = HIDDEN) -> DownloadClaim | None:
    async with database.begin() as session:
        return await imports.claim(session, hidden)


async def must_claim(database: Database, hidden: timedelta = HIDDEN) -> DownloadClaim:
    claimed = await claim(database, hidden)
    assert claimed is not None
    return claimed


async def history(database: Database, image_id: UUID) -> list[tuple[str | None, str, int, str | None, str | None]]:
    async with database.begin() as session:
        events = await images.list_events(session, image_id)
    return [(item.from_status, item.to_status, item.attempt, item.worker, item.error_code) for item in events]


async def keep(session: AsyncSession, owned: DownloadClaim) -> bool:
    return await imports.keep(session, owned, "worker-a", downloaded())


async def fail(session: AsyncSession, owned: DownloadClaim) -> bool:
    return await imports.fail(session, owned, "worker-a", "download_failed", "the server answered 404")


async def postpone(session: AsyncSession, owned: DownloadClaim) -> bool:
    return await imports.postpone(session, owned, "worker-a", AT_ONCE, refund=False, code="download_failed")


MOVES: dict[ImageStatus, Move] = {
    ImageStatus.PENDING: keep,
    ImageStatus.ERROR: fail,
    ImageStatus.CREATED: postpone,
}


async def test_an_import_waits_without_bytes_until_it_has_been_downloaded(database: Database) -> None:
    image = await record_import(database, new_import("http://pictures.example/a.png?token=t", tags=["x"], category="c"))
    assert (image.status, image.has_bytes, image.source_url) == (
        "created",
        False,
        "http://pictures.example/a.png?token=t",
    )
    assert [getattr(image, name) for name in OF_THE_BYTES] == [None] * 6
    owned = await must_claim(database)
    assert owned == DownloadClaim(image.id, 1, TRIES - 1, LOCAL_FOLDER_ID, "http://pictures.example/a.png?token=t")
    download = downloaded()
    async with database.begin() as session:
        assert await imports.keep(session, owned, "worker-a", download)
    row = await load(database, image.id)
    assert [getattr(row, name) for name in OF_THE_BYTES] == [
        download.sha256,
        object_key(download.sha256),
        "image/png",
        10,
        3,
        2,
    ]
    assert (row.status, row.tries_left, row.attempt, row.tags, row.category) == ("pending", TRIES, 1, ["x"], "c")
    assert await history(database, image.id) == [
        (None, "created", 0, None, None),
        ("created", "pending", 1, "worker-a", None),
    ]
    async with database.begin() as session:
        (work,) = await lifecycle.claim(session, [image.id], "worker-b")
    assert (work.attempt, work.sha256) == (2, download.sha256)


async def test_of_many_concurrent_claims_each_gets_another_import(database: Database) -> None:
    ids = {(await record_import(database)).id for _ in range(3)}
    claimed = await asyncio.gather(*(claim(database) for _ in range(20)))
    found = [owned.id for owned in claimed if owned is not None]
    assert (len(found), set(found)) == (3, ids)


async def test_a_download_whose_time_is_over_is_claimed_again_and_the_first_one_moves_nothing(
    database: Database,
) -> None:
    await record_import(database)
    zombie = await must_claim(database, OVER)
    owner = await must_claim(database)
    assert (owner.attempt, owner.tries_left) == (zombie.attempt + 1, TRIES - 2)
    for move in MOVES.values():
        async with database.begin() as session:
            assert not await move(session, zombie)
    async with database.begin() as session:
        assert await keep(session, owner)
        assert not await keep(session, owner), "it is not a download any more"


@pytest.mark.parametrize("target", list(MOVES))
async def test_moves_are_exactly_those_of_the_state_machine(database: Database, target: ImageStatus) -> None:
    image = await record_import(database)
    owned = await must_claim(database)
    assert can_move(ImageStatus.CREATED, target)
    async with database.begin() as session:
        assert await MOVES[target](session, owned)
    assert (await load(database, image.id)).status == target
    others: list[Image] = await record(database, new_image())
    others += await record_done(database, new_image())
    for other in others:
        async with database.begin() as session:
            fence = DownloadClaim(other.id, other.attempt, 1, LOCAL_FOLDER_ID, "http://pictures.example/")
            assert not await MOVES[target](session, fence), "it has its bytes"


async def test_postponing_delays_refunds_and_says_why(database: Database) -> None:
    image = await record_import(database)
    for refund, code in ((True, "storage_unavailable"), (False, "download_failed")):
        owned = await must_claim(database)
        async with database.begin() as session:
            assert await imports.postpone(session, owned, "worker-a", AT_ONCE, refund=refund, code=code)
        assert (await load(database, image.id)).tries_left == owned.tries_left + refund
    owned = await must_claim(database)
    async with database.begin() as session:
        await imports.postpone(session, owned, "worker-a", HIDDEN, refund=False, code="download_failed")
    assert await claim(database) is None, "it is not due yet"
    assert (await history(database, image.id))[1:] == [
        ("created", "created", 1, "worker-a", "storage_unavailable"),
        ("created", "created", 2, "worker-a", "download_failed"),
        ("created", "created", 3, "worker-a", "download_failed"),
    ]


async def test_silent_deaths_end_in_poison_suspected(database: Database) -> None:
    image = await record_import(database)
    for _ in range(TRIES):
        await must_claim(database, OVER)
    assert await claim(database) is None
    async with database.begin() as session:
        await imports.bury(session)
    row = await load(database, image.id)
    assert (row.status, row.error_code, row.attempt) == ("error", "poison_suspected", TRIES)
    assert (await history(database, image.id))[-1][3:] == (None, "poison_suspected")


async def test_a_claim_from_before_postgresql_was_started_costs_no_try(database: Database) -> None:
    image = await record_import(database)
    for _ in range(TRIES):
        await must_claim(database, OVER)
    before = "UPDATE images SET updated_at = pg_postmaster_start_time() - interval '1 second' WHERE id = :id"
    async with database.begin() as session:
        await session.execute(text(before), {"id": image.id})
        await imports.bury(session)
    assert (await must_claim(database)).tries_left == 0


async def test_requeued_without_bytes_it_is_downloaded_again_and_with_them_processed_again(database: Database) -> None:
    image = await record_import(database)
    owned = await must_claim(database)
    async with database.begin() as session:
        await fail(session, owned)
    row = await load(database, image.id)
    assert (row.status, row.error_code, row.error_message) == ("error", "download_failed", "the server answered 404")
    async with database.begin() as session:
        assert set(await lifecycle.requeue(session, [image.id], "tester")) == {image.id}
    row = await load(database, image.id)
    assert (row.status, row.tries_left, row.error_code, row.attempt) == ("created", TRIES, None, 1)
    assert (await history(database, image.id))[-1] == ("error", "created", 1, "tester", None)

    again = await must_claim(database)
    async with database.begin() as session:
        await keep(session, again)
        (work,) = await lifecycle.claim(session, [image.id], "worker-a")
        await lifecycle.fail(session, [Failure(work.fence, "image_corrupt", "broken")])
        await lifecycle.requeue(session, [image.id], "tester")
    assert (await load(database, image.id)).status == "pending"


async def test_the_bytes_are_there_all_or_none_and_none_only_before_the_download(database: Database) -> None:
    image = await record_import(database)
    (upload,) = await record(database, new_image())
    for image_id, change in (
        (image.id, "status = 'pending'"),
        (image.id, "source_url = NULL"),
        (image.id, "sha256 = 'ab'"),
        (upload.id, "sha256 = NULL"),
        (upload.id, "width = NULL"),
        (upload.id, ", ".join(f"{name} = NULL" for name in OF_THE_BYTES)),
    ):
        with pytest.raises(IntegrityError, match='"ck_images_bytes"'):
            async with database.begin() as session:
                await session.execute(text(f"UPDATE images SET {change} WHERE id = :id"), {"id": image_id})  # noqa: S608


async def test_an_external_id_is_one_images(database: Database) -> None:
    await record_import(database, new_import(external_id="shoe"))
    await record_import(database, new_import(external_id=None))
    async with database.begin() as session:
        assert await imports.record(session, new_import(external_id="shoe")) is None
    assert await count(database, "images") == await count(database, "image_events") == 2


async def test_the_twin_is_in_the_same_folder(database: Database) -> None:
    (image,) = await record(database, new_image())
    await record(database, new_image(folder_id=await create_folder(database)))
    await record_import(database)
    await record_import(database, new_import(folder_id=await create_folder(database)))
    owned, elsewhere = await must_claim(database), await must_claim(database)
    async with database.begin() as session:
        assert await imports.find_twin(session, owned, image.sha256) == image.id
        assert await imports.find_twin(session, elsewhere, image.sha256) is None
        assert await imports.find_twin(session, owned, "00" * 32) is None


async def test_deleted_before_it_has_bytes_nothing_is_left_of_it(database: Database) -> None:
    image = await record_import(database)
    async with database.begin() as session:
        assert await images.delete(session, LOCAL_OWNER_ID, image.id) is None
        with pytest.raises(NotFound):
            await images.delete(session, LOCAL_OWNER_ID, image.id)
    assert not await exists(database, image.id)
    assert await count(database, "tombstones") == 0


async def test_what_was_stored_for_a_deleted_image_is_purged_and_for_a_live_one_it_is_not(database: Database) -> None:
    for _ in range(2):
        await record_import(database)
    gone, alive = await must_claim(database), await must_claim(database)
    async with database.begin() as session:
        await images.delete(session, LOCAL_OWNER_ID, gone.id)
        assert not await keep(session, gone)
        for owned in (gone, alive, gone):
            await imports.bury_remains(session, owned, "ab" * 32)
        assert (await session.get_one(Tombstone, gone.id)).sha256 == "ab" * 32
    assert await count(database, "tombstones") == 1


async def test_neither_the_sweep_nor_an_audit_minds_an_import_that_waits(database: Database) -> None:
    image = await record_import(database)
    await age(database, image.id, timedelta(days=2))
    async with database.begin() as session:
        assert await images.find_unsettled(session, older_than=AT_ONCE, limit=10) == []
        assert not await images.expire_unsettled(session, image.id, older_than=AT_ONCE)
        assert await lifecycle.find_due(session, overdue=AT_ONCE, limit=10) == []
        assert await inventory.read_page(session, None, after=None, limit=10, grace=AT_ONCE) == []
        assert await inventory.count_images(session) == 0
    assert await exists(database, image.id)


async def test_what_waits_to_be_downloaded_counts_as_backlog(database: Database) -> None:
    await record_import(database)
    await record_import(database)
    async with database.begin() as session:
        assert await overview.backlog_exceeds(session, 1)
        assert not await overview.backlog_exceeds(session, 2)


def test_every_column_of_an_import_is_a_column_of_the_row() -> None:
    fields: Any = NewImport.__slots__
    assert set(fields) <= set(Image.__table__.columns.keys())
