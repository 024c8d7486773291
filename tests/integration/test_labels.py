"""What stages see in images, on a real PostgreSQL: fenced, replaced by each run, and the owner's word is final."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from common.db import images, lifecycle
from common.db.attempts import Finish
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, Image
from common.errors import OwnershipLost
from common.payloads import payload_of
from tests.fixtures.rows import expire_lease, load, new_image, record_pending
from worker.labels import Labels
from worker.work import Work


@pytest.fixture
def labels(database: Database) -> Labels:
    return Labels(database)


async def claim(database: Database, image_id: UUID) -> Work:
    async with database.begin() as session:
        (claimed,) = await lifecycle.claim(session, [image_id], "tests")
    return Work(claimed)


async def claim_new(database: Database) -> Work:
    (row,) = await record_pending(database, new_image())
    return await claim(database, row.id)


async def claim_again(database: Database, image_id: UUID) -> Work:
    await expire_lease(database, image_id)
    return await claim(database, image_id)


async def finish(database: Database, work: Work) -> Image:
    async with database.begin() as session:
        await lifecycle.advance(session, [work.claim.fence])
        assert await lifecycle.finish(session, [Finish(work.claim.fence, work.claim.payload_version)])
    return await load(database, work.claim.id)


async def edit(database: Database, image_id: UUID, **changes: Any) -> None:
    async with database.begin() as session:
        await images.edit(session, LOCAL_OWNER_ID, image_id, changes)


async def visibility(database: Database, image_id: UUID) -> tuple[str, str | None]:
    row = await load(database, image_id)
    return row.visibility, row.visibility_by


async def test_each_stage_has_labels_of_its_own_and_replaces_them(database: Database, labels: Labels) -> None:
    work = await claim_new(database)
    await asyncio.gather(
        labels.keep(work, "tagging", {"a star": 0.987654, "ein Hut": 1}), labels.keep(work, "faces", {"a face": 0.5})
    )
    await labels.keep(work, "tagging", {"a moon": 0.25})
    row = await load(database, work.claim.id)
    assert row.labels == work.claim.labels == {"tagging": {"a moon": 0.25}, "faces": {"a face": 0.5}}
    assert payload_of(row).labels == ("a face", "a moon")
    await labels.keep(work, "tagging", {})
    assert (await load(database, row.id)).labels == {"faces": {"a face": 0.5}}


async def test_labels_of_many_images_at_once(database: Database, labels: Labels) -> None:
    works = [await claim_new(database) for _ in range(5)]
    await asyncio.gather(*(labels.keep(work, "tagging", {f"{n}": n / 10}) for n, work in enumerate(works)))
    rows = [await load(database, work.claim.id) for work in works]
    assert [row.labels for row in rows] == [{"tagging": {f"{n}": n / 10}} for n in range(5)]


async def test_the_index_is_told_once_of_what_a_run_has_seen(database: Database, labels: Labels) -> None:
    work = await claim_new(database)
    before = work.claim.payload_version
    await labels.keep(work, "tagging", {"a star": 0.9}, hide=True)
    done = await finish(database, work)
    assert done.payload_version == done.indexed_version == before + 1
    again = await claim_again(database, done.id)
    await labels.keep(again, "tagging", {"a star": 0.9}, hide=True)
    assert again.claim.payload_version == done.payload_version, "the same again changes nothing"


async def test_an_edit_meanwhile_is_still_owed_to_the_index(database: Database, labels: Labels) -> None:
    work = await claim_new(database)
    await edit(database, work.claim.id, tags=["new"])
    await labels.keep(work, "tagging", {"a star": 0.9})
    await labels.keep(work, "tagging", {"a star": 0.8})
    done = await finish(database, work)
    assert done.payload_version > done.indexed_version
    assert (done.tags, done.labels) == (["new"], {"tagging": {"a star": 0.8}})


async def test_a_lost_attempt_writes_nothing(database: Database, labels: Labels) -> None:
    late, good = await claim_new(database), await claim_new(database)
    owner = await claim_again(database, late.claim.id)
    lost, kept = await asyncio.gather(
        labels.keep(late, "tagging", {"stale": 1}, hide=True),
        labels.keep(good, "tagging", {"fresh": 1}),
        return_exceptions=True,
    )
    assert isinstance(lost, OwnershipLost)
    assert kept is None
    assert (await load(database, late.claim.id)).labels == {}
    assert await visibility(database, late.claim.id) == ("visible", None)
    await finish(database, owner)
    with pytest.raises(OwnershipLost):
        await labels.keep(owner, "tagging", {"late": 1})


async def test_whoever_hides_an_image_shows_it_again(database: Database, labels: Labels) -> None:
    work = await claim_new(database)
    id_ = work.claim.id
    await labels.keep(work, "moderation", {}, hide=True)
    assert await visibility(database, id_) == (work.claim.visibility, "moderation") == ("hidden", "moderation")
    assert payload_of(work.claim).hidden
    await labels.keep(work, "tagging", {"a star": 1})
    await labels.keep(work, "faces", {}, hide=False)
    assert await visibility(database, id_) == ("hidden", "moderation"), "others have no say in it"
    await labels.keep(work, "moderation", {}, hide=False)
    assert await visibility(database, id_) == ("visible", None)


@pytest.mark.parametrize("decision", ["visible", "hidden"])
async def test_what_the_owner_decides_stays(database: Database, labels: Labels, decision: str) -> None:
    work = await claim_new(database)
    await edit(database, work.claim.id, visibility=decision)
    for hide in (True, False, None):
        await labels.keep(work, "moderation", {}, hide=hide)
        assert await visibility(database, work.claim.id) == (decision, "owner")
        assert work.claim.visibility == decision
