"""Every kind of mismatch on real stores: it is found, it is mended if it can be, and nothing else is touched."""

from datetime import timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest
from prometheus_client import REGISTRY

from common.db import embeddings, images
from common.db.models import LOCAL_OWNER_ID, Image
from common.payloads import payload_of
from common.status import ImageStatus
from common.storage import object_key, thumbnail_key
from common.vectors.base import ROUNDING, Point
from tests.fixtures.auditing import Collected, fixed, found, ids, vector_of
from tests.fixtures.rows import (
    create_folder,
    exists,
    load,
    new_image,
    record,
    record_done,
    record_pending,
)
from worker.audit.report import Mismatch


async def cached(collected: Collected, image: Image) -> bool:
    async with collected.database.begin() as session:
        return bool(await embeddings.find(session, collected.model.id, [image.sha256]))


async def last_event(collected: Collected, image: Image) -> tuple[str | None, str, str | None, str | None]:
    async with collected.database.begin() as session:
        event = (await images.list_events(session, image.id))[-1]
        return event.from_status, event.to_status, event.worker, event.error_code


async def test_where_everything_agrees_nothing_is_found(collected: Collected) -> None:
    await collected.add(5)
    report = await collected.audit()
    assert (report.found, report.left, report.mismatches) == (0, 0, {})
    assert report.checked.model_dump() == {"images": 5, "objects": 10, "points": 5}
    collected.index.calls.clear()
    assert (await collected.audit(fix=True)).found == 0
    assert not {"upsert", "delete", "set_payload"} & set(collected.index.calls), "what agrees is left alone"


async def test_the_same_bytes_in_several_folders_agree_too(collected: Collected) -> None:
    (image,) = await collected.add()
    other = new_image(image.sha256, folder_id=await create_folder(collected.database), byte_size=image.byte_size)
    (twin,) = await record_done(collected.database, other)
    await collected.index.upsert(collected.collection, [Point(twin.id, vector_of(twin), payload_of(twin))])
    assert (await collected.audit()).found == 0


async def test_an_empty_database_without_a_model_agrees(collected: Collected) -> None:
    await collected.execute("DELETE FROM embedding_models")
    report = await collected.audit(fix=True)
    assert (report.found, collected.index.calls) == (0, [])


async def test_a_missing_original_is_reported_with_what_to_bring_back_and_stays_as_it_is(collected: Collected) -> None:
    broken, _ = await collected.add(2)
    await collected.storage.delete(broken.object_key)
    labels = {"kind": "object_missing", "mended": "no"}
    counted = REGISTRY.get_sample_value("likeness_audit_mismatches_total", labels) or 0
    report = await collected.audit(fix=True)
    assert REGISTRY.get_sample_value("likeness_audit_mismatches_total", labels) == counted + 1
    assert found(report) == {"object_missing": ids([broken])}
    (item,) = report.mismatches[Mismatch.OBJECT_MISSING].items
    assert item.detail == f"{broken.object_key}, uploaded as 'a.png'"
    assert report.left == 1
    assert (await load(collected.database, broken.id)).status == "done", "it is found by searches as before"
    assert await cached(collected, broken)


@pytest.mark.parametrize("status", ["pending", "error"])
async def test_originals_are_missed_in_every_state_that_promises_one(collected: Collected, status: str) -> None:
    (image,) = await record_pending(collected.database, new_image())
    if status == "error":
        await collected.execute("UPDATE images SET status = 'error', error_code = 'broken'")
    assert found(await collected.audit()) == {"object_missing": ids([image])}


async def test_an_original_of_another_size_is_as_good_as_missing(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.put(image.object_key, b"short")
    report = await collected.audit(fix=True)
    assert (found(report), report.left) == ({"object_wrong_size": ids([image])}, 1)
    (item,) = report.mismatches[Mismatch.OBJECT_WRONG_SIZE].items
    assert item.detail is not None
    assert "5 bytes instead of 16" in item.detail


async def test_a_missing_thumbnail_is_made_again_by_the_pipeline(collected: Collected) -> None:
    image, other = await collected.add(2)
    await collected.storage.delete(thumbnail_key(image.sha256))
    assert (found(report := await collected.audit()), report.left) == ({"thumbnail_missing": ids([image])}, 1)
    assert (await load(collected.database, image.id)).status == "done", "nothing is mended unless asked"
    assert fixed(await collected.audit(fix=True)) == {Mismatch.THUMBNAIL_MISSING: 1}
    redone = await load(collected.database, image.id)
    assert (redone.status, redone.attempt) == ("pending", image.attempt)
    assert await last_event(collected, image) == ("done", "pending", "audit", "thumbnail_missing")
    assert not await cached(collected, image), (
        "with its vector cached, it would skip the stage that makes the thumbnail"
    )
    assert (await load(collected.database, other.id)).status == "done"
    assert await collected.points() == sorted([image.id, other.id]), "it is found until it is indexed anew"


@pytest.mark.parametrize("bad", ["missing", "wrong size", "corrupt"])
async def test_an_image_without_a_good_original_never_leaves_done(collected: Collected, bad: str) -> None:
    """The pipeline could not bring it back: it would be worse off than without its thumbnail."""
    (image,) = await collected.add()
    await collected.storage.delete(thumbnail_key(image.sha256))
    if bad == "missing":
        await collected.storage.delete(image.object_key)
    else:
        await collected.put(image.object_key, b"x" * (image.byte_size - (bad == "wrong size")))
    report = await collected.audit(fix=True)
    assert "thumbnail_missing" in found(report)
    assert set(fixed(report).values()) == {0}
    assert (await load(collected.database, image.id)).status == "done"
    assert await cached(collected, image)


async def test_a_missing_vector_is_written_from_the_cache(collected: Collected) -> None:
    image, other = await collected.add(2, category="shoes")
    await collected.index.delete(collected.collection, [image.id])
    assert found(await collected.audit()) == {"vector_missing": ids([image])}
    assert await collected.points() == [other.id]
    assert fixed(await collected.audit(fix=True)) == {Mismatch.VECTOR_MISSING: 1}
    restored = await collected.index.fetch(collected.collection, [image.id])
    np.testing.assert_allclose(restored[image.id], vector_of(image), atol=ROUNDING)
    payloads = await collected.index.fetch_payloads(collected.collection, [image.id])
    assert payloads == {image.id: payload_of(image)}
    assert (await load(collected.database, image.id)).status == "done"
    assert (await collected.audit()).found == 0


async def test_a_missing_vector_is_written_though_the_original_is_lost(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.index.delete(collected.collection, [image.id])
    await collected.storage.delete(image.object_key)
    assert fixed(await collected.audit(fix=True)) == {Mismatch.VECTOR_MISSING: 1, Mismatch.OBJECT_MISSING: 0}
    assert await collected.points() == [image.id]


async def test_a_missing_vector_that_is_not_cached_goes_through_the_pipeline(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.index.delete(collected.collection, [image.id])
    await collected.execute("DELETE FROM embeddings")
    report = await collected.audit(fix=True)
    assert fixed(report) == {Mismatch.VECTOR_MISSING: 1, Mismatch.EMBEDDING_MISSING: 1}
    assert (await load(collected.database, image.id)).status == "pending"


async def test_a_missing_vector_whose_cached_one_is_no_vector_goes_through_the_pipeline(collected: Collected) -> None:
    """Of the right length, but not normalised: it would be refused by the index, with its whole batch."""
    spoiled, good = await collected.add(2)
    await collected.index.delete(collected.collection, [spoiled.id, good.id])
    await collected.execute(
        "UPDATE embeddings SET vector = decode(repeat('00', 16), 'hex') WHERE sha256 = :sha256", sha256=spoiled.sha256
    )
    assert fixed(await collected.audit(fix=True)) == {Mismatch.VECTOR_MISSING: 2}
    assert await collected.points() == [good.id]
    assert (await load(collected.database, spoiled.id)).status == "pending"
    assert not await cached(collected, spoiled)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM embeddings", "UPDATE embeddings SET vector = '\\x0000803f'"],
    ids=["not cached", "another dimension"],
)
async def test_a_vector_that_is_not_cached_or_of_another_dimension_is_made_again(
    collected: Collected, statement: str
) -> None:
    (image,) = await collected.add()
    await collected.execute(statement)
    report = await collected.audit(fix=True)
    assert (found(report), report.left) == ({"embedding_missing": ids([image])}, 0)
    assert (await load(collected.database, image.id)).status == "pending"
    assert await last_event(collected, image) == ("done", "pending", "audit", "embedding_missing")


async def test_a_vector_without_a_row_is_deleted(collected: Collected) -> None:
    (image,) = await collected.add()
    stray = uuid4()
    await collected.index.upsert(collected.collection, [Point(stray, vector_of(image), payload_of(image))])
    assert found(await collected.audit()) == {"vector_orphaned": {str(stray)}}
    assert len(await collected.points()) == 2
    assert fixed(await collected.audit(fix=True)) == {Mismatch.VECTOR_ORPHANED: 1}
    assert await collected.points() == [image.id]


async def test_a_stale_payload_is_written(collected: Collected) -> None:
    """As after a restored snapshot: by its own versions the row believes the index is up to date."""
    (image,) = await collected.add(category="shoes")
    (foreign,) = await collected.add(category="hats")
    old = Point(image.id, vector_of(image), payload_of(foreign))
    await collected.index.upsert(collected.collection, [old])
    report = await collected.audit(fix=True)
    assert (found(report), report.left) == ({"payload_stale": ids([image])}, 0)
    assert (await collected.audit()).found == 0


async def test_an_edit_the_index_is_still_to_follow_is_the_sweeps(collected: Collected) -> None:
    (image,) = await collected.add()
    async with collected.database.begin() as session:
        await images.edit(session, LOCAL_OWNER_ID, image.id, {"category": "hats"})
    assert (await collected.audit()).found == 0


async def test_a_collection_of_another_dimension_is_named_and_left_alone(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.execute("UPDATE embedding_models SET dim = 5")
    await collected.execute("UPDATE embeddings SET vector = vector || '\\x00000000'")
    report = await collected.audit(fix=True)
    assert (found(report), report.left) == ({"collection_unfit": {collected.model.collection}}, 1)
    detail = report.mismatches[Mismatch.COLLECTION_UNFIT].items[0].detail
    assert detail is not None
    assert "not 5" in detail
    assert await collected.points() == [image.id]


async def test_what_is_in_motion_is_not_judged(collected: Collected) -> None:
    created, *_ = await record(collected.database, new_image())
    leased, fresh, old = await record_pending(collected.database, new_image(), new_image(), new_image())
    await collected.execute(
        "UPDATE images SET status = 'indexing', lease_until = now() + interval '1 minute' WHERE id = :id", id=leased.id
    )
    await collected.execute("UPDATE images SET updated_at = now() - interval '10 minutes' WHERE id <> :id", id=fresh.id)
    report = await collected.audit(fix=True, grace=timedelta(minutes=2))
    assert found(report) == {"object_missing": ids([old])}
    assert (report.checked.images, report.in_motion) == (4, 3)
    assert await exists(collected.database, created.id)


async def test_what_is_done_is_judged_at_once(collected: Collected) -> None:
    """An index that comes back may have lost the latest of all."""
    (image,) = await collected.add()
    await collected.index.delete(collected.collection, [image.id])
    report = await collected.audit(fix=True, grace=timedelta(minutes=2))
    assert fixed(report) == {Mismatch.VECTOR_MISSING: 1}


async def test_only_done_images_are_expected_to_be_searchable(collected: Collected) -> None:
    states = [status for status in ImageStatus if status != ImageStatus.DONE]
    rows = await collected.add(len(states))
    await collected.index.delete(collected.collection, [image.id for image in rows])
    for image, status in zip(rows, states, strict=True):
        await collected.storage.delete(thumbnail_key(image.sha256))
        await collected.execute(
            "UPDATE images SET status = :status, error_code = CASE WHEN :status = 'error' THEN 'broken' END, "
            "lease_until = CASE WHEN :status IN ('embedding', 'indexing') THEN now() END WHERE id = :id",
            status=status,
            id=image.id,
        )
    assert (await collected.audit(fix=True)).found == 0
    assert [(await load(collected.database, image.id)).status for image in rows] == states


async def test_several_problems_of_one_image_are_all_counted(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.index.delete(collected.collection, [image.id])
    await collected.storage.delete(thumbnail_key(image.sha256))
    assert fixed(await collected.audit(fix=True)) == {Mismatch.THUMBNAIL_MISSING: 1, Mismatch.VECTOR_MISSING: 1}


async def test_orphans_are_found_and_what_is_not_ours_is_left_alone(collected: Collected) -> None:
    (image,) = await collected.add()
    lost = uuid4().hex * 2
    for key in (object_key(lost), thumbnail_key(lost), "sha256/readme.txt", "backup.tar"):
        await collected.put(key)
    report = await collected.audit()
    assert found(report) == {"object_orphaned": {object_key(lost), thumbnail_key(lost)}}
    assert (await collected.audit(fix=True)).left == 0, "in quarantine, they are taken care of"
    for key in (object_key(lost), thumbnail_key(lost), "backup.tar", image.object_key):
        assert await collected.storage.find(key) is not None, "nothing is deleted at once"


async def test_remains_of_the_deleted_are_left_to_their_tombstone(collected: Collected) -> None:
    (image,) = await collected.add()
    async with collected.database.begin() as session:
        await images.delete(session, LOCAL_OWNER_ID, image.id)
    assert (await collected.audit(fix=True)).found == 0
    assert await collected.points() == [image.id]


async def test_every_collection_that_may_hold_vectors_is_searched_for_strays(collected: Collected) -> None:
    (image,) = await collected.add()
    await collected.execute(
        "INSERT INTO embedding_models (name, pretrained, dim, preprocess_version, state, collection) "
        "VALUES ('next', 'x', 4, 1, 'building', 'next')"
    )
    await collected.audit()
    stray = UUID(int=7)
    other = type(collected.collection)("next", 4)
    await collected.index.upsert(other, [Point(stray, vector_of(image), payload_of(image))])
    report = await collected.audit(fix=True)
    assert found(report) == {"vector_orphaned": {str(stray)}}, "a model being built need not have every image yet"
    assert await collected.index.count(other) == 0
