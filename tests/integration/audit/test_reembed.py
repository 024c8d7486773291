"""Fills on real stores: every image gets into the second collection once, whatever happens meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.db import embedding_models, embeddings, images, indexings, model_lifecycle, operations, reembeds
from common.db.embedding_models import label
from common.db.models import EmbeddingModel, Operation
from common.db.operations import REEMBED, RETIRE, NewOperation, OperationClaim
from common.errors import EmbedderUnavailable, OwnershipLost
from common.payloads import payload_of, sync_payload
from common.purge import Purge
from common.storage import object_key
from common.vectors.base import Collection
from tests.fakes.reembedding import SECOND, FakeDecoder, FakeEmbedder, create_reembeds
from tests.fixtures.auditing import Collected, ids
from tests.fixtures.rows import load
from worker.audit.report import Mismatch
from worker.operations import Operations, Progress
from worker.reembed import fill as fill_module
from worker.reembed.report import ReembedReport
from worker.reembed.retirement import Retirements

LEASE = timedelta(minutes=1)


class Filled:
    """A collection of images, and a worker that fills a second model's."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        self.database = collected.database
        self.embedder = FakeEmbedder()
        self.decoder = FakeDecoder()
        index, storage = collected.index, collected.storage
        self.reembeds = create_reembeds(self.database, storage, index, self.embedder, self.decoder)
        self.operations = Operations(self.database, "filling", [self.reembeds, Retirements(self.database, index)])

    async def fill(self, model: str = SECOND.label) -> Operation:
        """Ask for a fill, do it, and return its row."""
        async with self.database.begin() as session:
            operation = await reembeds.start(session, model, "tests")
        await self.operations.run_next()
        async with self.database.begin() as session:
            return await operations.get(session, operation.id)

    async def report(self, model: str = SECOND.label) -> ReembedReport:
        operation = await self.fill(model)
        assert operation.status == "done", operation.error
        return ReembedReport.model_validate(operation.result)

    async def model(self) -> EmbeddingModel:
        async with self.database.begin() as session:
            found = await model_lifecycle.find_live(session, SECOND.label)
        assert found is not None
        return found

    async def collection(self) -> Collection:
        model = await self.model()
        return Collection(model.collection, model.dim)

    async def points(self) -> set[str]:
        return set(map(str, await self.collected.index.scroll(await self.collection(), limit=1000)))

    def before(self, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[], Awaitable[object]]) -> None:
        """Have something happen once, between the embedding of images and the writing of their points."""
        embed, left = self.reembeds._embedding.embed, [meddle]

        async def embed_then(*arguments: Any) -> Any:
            vectors = await embed(*arguments)
            if left:
                await left.pop()()
            return vectors

        monkeypatch.setattr(self.reembeds._embedding, "embed", embed_then)


@pytest.fixture
def filled(collected: Collected) -> Filled:
    return Filled(collected)


async def test_every_image_gets_in_once_and_cached_vectors_are_not_made_again(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "_PAGE", 5)
    some = await filled.collected.add(7, category="shoes")
    assert await filled.report() == ReembedReport(model=SECOND.label, added=7)
    assert filled.embedder.embedded == 7
    async with filled.database.begin() as session:
        await session.execute(text("DELETE FROM indexings WHERE model_id = :id"), {"id": (await filled.model()).id})
    more = await filled.collected.add(4)
    assert (await filled.report()).added == 11
    assert filled.embedder.embedded == 11, "seven were cached"
    assert await filled.points() == ids([*some, *more])
    payloads = await filled.collected.index.fetch_payloads(await filled.collection(), [some[0].id])
    assert payloads == {some[0].id: payload_of(some[0])}
    assert (await filled.collected.audit()).found == 0
    assert (await filled.model()).filled_at is not None


async def test_images_that_can_not_be_embedded_are_reported_and_keep_no_other_waiting(filled: Filled) -> None:
    lost, broken, other, *_ = await filled.collected.add(5)
    await filled.collected.storage.delete(object_key(lost.sha256))
    await filled.collected.put(object_key(other.sha256), b"0123456789abcdef")
    filled.decoder.broken.add(await filled.collected.storage.get(object_key(broken.sha256), max_bytes=99))
    report = await filled.report()
    assert (report.added, report.left, report.failed) == (2, 3, 3)
    assert {item.id: item.code for item in report.items} == {
        str(lost.id): "object_not_found",
        str(broken.id): "image_truncated",
        str(other.id): "object_corrupt",
    }
    assert (await filled.model()).filled_at is None


async def test_an_outage_puts_the_fill_back_and_it_begins_where_points_are_missing(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "_PAGE", 2)
    added = await filled.collected.add(6)

    async def go_away() -> None:
        filled.embedder.error = EmbedderUnavailable("away")

    filled.before(monkeypatch, go_away)
    postponed = await filled.fill()
    assert (postponed.status, postponed.error) == ("queued", "away")
    assert postponed.tries_left == 5
    assert len(await filled.points()) == 2
    filled.embedder.error = None
    async with filled.database.begin() as session:
        await session.execute(text("UPDATE operations SET next_run_at = now()"))
    assert (await filled.report()).added == 4
    assert filled.embedder.embedded == 6
    assert await filled.points() == ids(added)


async def test_a_model_that_is_not_served_is_refused_at_once_with_the_way_out(filled: Filled) -> None:
    failed = await filled.fill("nobody/serves")
    assert (failed.status, failed.attempt) == ("failed", 1)
    assert failed.error is not None
    assert "does not serve nobody/serves" in failed.error
    assert "EMBEDDER__ALSO" in failed.error
    async with filled.database.begin() as session:
        assert len(await embedding_models.list_all(session)) == 1


async def test_a_live_model_that_is_not_served_at_present_is_waited_for(filled: Filled) -> None:
    await filled.report()
    filled.reembeds._served._infos.clear()
    filled.embedder.served.remove(SECOND)
    waiting = await filled.fill()
    assert waiting.status == "queued"
    assert "EMBEDDER__ALSO" in (waiting.error or "")


async def test_what_happens_to_images_while_they_are_embedded_counts(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, edited, kept = await filled.collected.add(3, category="hats")
    collected = filled.collected

    async def meddle() -> None:
        async with filled.database.begin() as session:
            await images.delete(session, deleted.owner_id, deleted.id)
            row = await images.edit(session, edited.owner_id, edited.id, {"category": "shoes"})
            models = await embedding_models.list_live(session)
        await Purge(filled.database, collected.storage, collected.index).purge(deleted.id, deleted.sha256)
        await sync_payload(filled.database, collected.index, models, row)

    filled.before(monkeypatch, meddle)
    assert (await filled.report()).left == 0
    assert await filled.points() == ids([edited, kept])
    payloads = await collected.index.fetch_payloads(await filled.collection(), [edited.id])
    assert payloads[edited.id] == payload_of(await load(filled.database, edited.id))
    async with filled.database.begin() as session:
        cached = await embeddings.find(session, (await filled.model()).id, [deleted.sha256, kept.sha256])
    assert cached.keys() == {kept.sha256}, "the vector of what was purged does not come back"
    assert (await collected.audit()).found == 0


async def test_an_image_deleted_after_its_point_was_written_leaves_none(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    (deleted,) = await filled.collected.add(1)
    upsert = filled.collected.index.upsert

    async def upsert_then(*arguments: Any) -> None:
        await upsert(*arguments)
        async with filled.database.begin() as session:
            await images.delete(session, deleted.owner_id, deleted.id)

    await filled.report("ViT-Tiny/tests")
    monkeypatch.setattr(filled.collected.index, "upsert", upsert_then)
    assert (await filled.report()).added == 0
    assert await filled.points() == set()


async def test_a_paused_fill_stops_and_goes_on_when_it_is_resumed(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "_PAGE", 2)
    added = await filled.collected.add(6)

    async def pause() -> None:
        async with filled.database.begin() as session:
            await reembeds.pause(session, SECOND.label)

    filled.before(monkeypatch, pause)
    assert (await filled.fill()).status == "paused"
    assert len(await filled.points()) == 2
    assert (await filled.report()).left == 0
    assert await filled.points() == ids(added)


async def test_a_fill_that_was_given_up_does_not_bring_its_model_back(filled: Filled) -> None:
    await filled.report()
    async with filled.database.begin() as session:
        operation = await reembeds.start(session, SECOND.label, "tests")
        claim = await operations.claim(session, [REEMBED], "slow", LEASE)
        assert claim is not None
    await retire(filled)
    with pytest.raises(OwnershipLost):
        await filled.reembeds.run(claim, Progress(filled.database, claim))
    async with filled.database.begin() as session:
        assert (await operations.get(session, operation.id)).status == "failed"
        assert await model_lifecycle.find_live(session, SECOND.label) is None


async def retire(filled: Filled) -> EmbeddingModel:
    async with filled.database.begin() as session:
        model = await model_lifecycle.retire(session, SECOND.label)
        await reembeds.give_up(session, SECOND.label)
        remains = {"model_id": model.id, "collection": model.collection, "dim": model.dim}
        await operations.start(session, NewOperation(RETIRE, "tests", remains))
    return model


async def test_a_retired_model_leaves_nothing_and_can_come_back(filled: Filled) -> None:
    added = await filled.collected.add(3)
    await filled.report()
    old = await filled.collection()
    model = await retire(filled)
    while await filled.operations.run_next():
        pass
    await filled.collected.index.ensure(old)
    assert await filled.collected.index.count(old) == 0
    async with filled.database.begin() as session:
        assert await embeddings.find(session, model.id, [image.sha256 for image in added]) == {}
        assert await indexings.count_by_model(session) == {filled.collected.model.id: 3}
    assert (await filled.report()).added == 3
    assert (await filled.collection()).name == f"{old.name}-2"
    assert (await filled.collected.audit()).found == 0


async def test_promoted_and_rolled_back_the_audit_finds_all_in_order(filled: Filled) -> None:
    await filled.collected.add(5)
    await filled.report()
    for switch in (lambda session: model_lifecycle.promote(session, SECOND.label), model_lifecycle.roll_back):
        async with filled.database.begin() as session:
            await switch(session)
        assert (await filled.collected.audit()).found == 0
        # As when a building model could not be reached: the notes say so, and a fill makes up for it.
        await filled.collected.add(2)
        async with filled.database.begin() as session:
            active, building = await embedding_models.list_live(session)
            await session.execute(text("DELETE FROM indexings WHERE model_id = :id"), {"id": active.id})
        for model in (active, building):
            assert (await filled.report(label(model))).left == 0
        assert (await filled.collected.audit()).found == 0


async def test_the_audit_mends_a_building_model_too_and_its_images_stay_done(filled: Filled) -> None:
    lost, bare, fine = await filled.collected.add(3)
    await filled.report()
    model, collection = await filled.model(), await filled.collection()
    await filled.collected.index.delete(collection, [lost.id])
    async with filled.database.begin() as session:
        await embeddings.forget(session, model.id, [bare.sha256])
    report = await filled.collected.audit(fix=True)
    assert report.mismatches.keys() == {Mismatch.VECTOR_MISSING, Mismatch.EMBEDDING_MISSING}
    assert (report.left, report.mismatches[Mismatch.VECTOR_MISSING].items[0].detail) == (0, f"in {collection.name}")
    assert [(await load(filled.database, image.id)).status for image in (lost, bare, fine)] == ["done"] * 3
    async with filled.database.begin() as session:
        assert await indexings.count_missing(session, model.id) == 1, "the fill that was asked for will see to it"
    assert (await filled.report()).added == 1
    assert (await filled.collected.audit()).found == 0


async def test_two_workers_that_fill_at_once_leave_the_same(filled: Filled) -> None:
    await filled.report()
    added = await filled.collected.add(9)
    claims: list[OperationClaim] = []
    for worker in ("one", "other"):
        async with filled.database.begin() as session:
            await operations.start(session, NewOperation(REEMBED, "tests", {"model": SECOND.label}))
        async with filled.database.begin() as session:
            claim = await operations.claim(session, [REEMBED], worker, LEASE)
        assert claim is not None
        claims.append(claim)
    fills = (Filled(filled.collected).reembeds.run(claim, Progress(filled.database, claim)) for claim in claims)
    assert [outcome.result["left"] for outcome in await asyncio.gather(*fills)] == [0, 0]
    assert await filled.points() == ids(added)
    assert (await filled.collected.audit()).found == 0
