"""Audits beside everything else that goes on: deletions, edits, uploads, workers, and another audit."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from common.db import images, lifecycle
from common.db.attempts import Fence, Finish
from common.db.images import NewImage
from common.db.models import LOCAL_OWNER_ID, Image
from common.payloads import payload_of
from common.purge import Purge
from common.storage import object_key, thumbnail_key
from common.vectors.base import Point
from tests.fixtures.auditing import NO_GRACE, Collected, vector_of
from tests.fixtures.rows import exists, load, new_image, quarantined
from worker.audit.points import PointCheck
from worker.audit.report import Mismatch


async def delete(collected: Collected, image: Image) -> None:
    async with collected.database.begin() as session:
        await images.delete(session, LOCAL_OWNER_ID, image.id)


async def edit(collected: Collected, image: Image, category: str) -> None:
    async with collected.database.begin() as session:
        await images.edit(session, LOCAL_OWNER_ID, image.id, {"category": category})


def before(monkeypatch: pytest.MonkeyPatch, target: object, call: str, meddle: Callable[[], Awaitable[None]]) -> None:
    """Let something happen just before the first call of a method."""
    original: Callable[..., Awaitable[Any]] = getattr(target, call)
    met = False

    async def meddled(*args: Any, **options: Any) -> Any:
        nonlocal met
        if not met:
            met = True
            await meddle()
        return await original(*args, **options)

    monkeypatch.setattr(target, call, meddled)


@pytest.mark.parametrize("purged", [True, False])
async def test_an_image_deleted_before_its_vector_is_restored_leaves_none(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, purged: bool
) -> None:
    gone, stays = await collected.add(2)
    await collected.index.delete(collected.collection, [gone.id, stays.id])

    async def meddle() -> None:
        await delete(collected, gone)
        if purged:
            await Purge(collected.database, collected.storage, collected.index).purge(gone.id, gone.sha256)

    before(monkeypatch, collected.index, "upsert", meddle)
    await collected.audit(fix=True)
    assert await collected.points() == [stays.id]


async def test_an_edit_before_its_vector_is_restored_is_what_filters_find(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = await collected.add(category="shoes")
    await collected.index.delete(collected.collection, [image.id])
    before(monkeypatch, collected.index, "upsert", lambda: edit(collected, image, "hats"))
    await collected.audit(fix=True)
    edited = await load(collected.database, image.id)
    payloads = await collected.index.fetch_payloads(collected.collection, [image.id])
    assert payloads == {image.id: payload_of(edited)}
    assert (edited.category, edited.indexed_version) == ("hats", edited.payload_version)


async def test_what_changed_while_it_was_checked_is_not_reported(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed, edited = await collected.add(2, category="shoes")

    async def meddle() -> None:
        await delete(collected, removed)
        await Purge(collected.database, collected.storage, collected.index).purge(removed.id, removed.sha256)
        await edit(collected, edited, "hats")
        now = await load(collected.database, edited.id)
        await collected.index.set_payload(collected.collection, edited.id, payload_of(now))

    before(monkeypatch, collected.index, "fetch_payloads", meddle)
    assert (await collected.audit()).found == 0


async def test_an_image_that_another_attempt_has_finished_meanwhile_is_not_redone(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = await collected.add()
    await collected.storage.delete(thumbnail_key(image.sha256))

    async def meddle() -> None:
        async with collected.database.begin() as session:
            await lifecycle.redo(session, [Fence(image.id, image.attempt)], "other", "thumbnail_missing")
        async with collected.database.begin() as session:
            (claim,) = await lifecycle.claim(session, [image.id], "other")
            await lifecycle.advance(session, [claim.fence])
            await lifecycle.finish(session, [Finish(claim.fence, claim.payload_version, (collected.model.id,))])

    before(monkeypatch, collected.storage, "get", meddle)
    assert (await collected.audit(fix=True)).left == 1
    assert (await load(collected.database, image.id)).status == "done"


async def test_points_whose_rows_are_there_are_not_removed(collected: Collected) -> None:
    (image,) = await collected.add()
    stray = UUID(int=5)
    await collected.index.upsert(collected.collection, [Point(stray, vector_of(image), payload_of(image))])
    await PointCheck(collected.database, collected.index).remove(collected.collection, [stray, image.id])
    assert await collected.points() == [image.id]


async def test_two_audits_that_mend_at_once_do_it_once(collected: Collected) -> None:
    lost, bare = await collected.add(2)
    await collected.index.delete(collected.collection, [lost.id])
    await collected.storage.delete(thumbnail_key(bare.sha256))
    await asyncio.gather(*(collected.audit(fix=True) for _ in range(3)))
    assert await collected.points() == sorted([lost.id, bare.id])
    async with collected.database.begin() as session:
        events = await images.list_events(session, bare.id)
    assert [event.to_status for event in events][-2:] == ["done", "pending"]


async def upload(collected: Collected, new: NewImage, data: bytes) -> UUID:
    """Record, store and mark, as the api does."""
    async with collected.database.begin() as session:
        (row,) = await images.record(session, [new])
    assert row is not None
    await collected.put(new.object_key, data)
    async with collected.database.begin() as session:
        await lifecycle.mark_stored(session, [row.image.id])
    return row.image.id


async def test_an_upload_of_what_is_in_quarantine_keeps_its_object_whoever_is_faster(collected: Collected) -> None:
    choose = random.Random(3)
    purge = Purge(collected.database, collected.storage, collected.index)
    for number in range(12):
        data = f"bytes {number}".encode()
        new = new_image(byte_size=len(data))
        await collected.put(new.object_key, data)
        await collected.audit()
        racers: list[Awaitable[Any]] = [purge.purge_orphans(older_than=NO_GRACE), upload(collected, new, data)]
        choose.shuffle(racers)
        await asyncio.gather(*racers)
        assert await collected.storage.find(new.object_key) is not None, "an image without its bytes"


async def test_an_object_whose_row_appears_leaves_quarantine_and_is_kept(collected: Collected) -> None:
    data = b"came back"
    new = new_image(byte_size=len(data))
    await collected.put(new.object_key, data)
    await collected.audit()
    image_id = await upload(collected, new, data)
    assert await quarantined(collected.database) == {new.object_key}
    await collected.audit()
    assert await quarantined(collected.database) == set()
    assert await exists(collected.database, image_id)
    assert await collected.storage.find(object_key(new.sha256)) is not None


async def test_a_cached_vector_that_is_gone_when_it_is_needed_is_made_again(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = await collected.add()
    await collected.index.delete(collected.collection, [image.id])
    before(monkeypatch, collected.index, "fetch_payloads", lambda: collected.execute("DELETE FROM embeddings"))
    report = await collected.audit(fix=True)
    assert report.mismatches[Mismatch.VECTOR_MISSING].fixed == 1
    assert (await load(collected.database, image.id)).status == "pending"
