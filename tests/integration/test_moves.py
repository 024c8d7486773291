"""The worker's moves on a real PostgreSQL: coalesced, fenced, each image with its own outcome."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from common import correlation
from common.db import embeddings, lifecycle
from common.db.attempts import Claim, Failure, Fence, Release
from common.db.engine import Database
from common.db.models import TRIES, EmbeddingModel, Image
from common.errors import OwnershipLost
from tests.fixtures.rows import (
    activate_model,
    expire_lease,
    keep_embeddings,
    load,
    new_image,
    record_pending,
    unit_vector,
)
from worker.leases import Leases
from worker.moves import Moves
from worker.pipeline import Pipeline


@pytest.fixture
async def model(database: Database) -> EmbeddingModel:
    return await activate_model(database)


@pytest.fixture
async def moves(database: Database, model: EmbeddingModel) -> AsyncIterator[Moves]:
    opened = Moves(database, "worker-a")
    yield opened
    await opened.close()


async def pending(database: Database, number: int) -> list[Image]:
    return await record_pending(database, *(new_image() for _ in range(number)))


async def claim(moves: Moves, *rows: Image) -> list[Claim]:
    works = await asyncio.gather(*(moves.claim(row.id) for row in rows))
    assert all(works)
    return [work.claim for work in works if work is not None]


async def statuses(database: Database, *rows: Image) -> list[str]:
    return [(await load(database, row.id)).status for row in rows]


async def test_each_move_is_a_line_under_its_images_own_id(
    database: Database, moves: Moves, model: EmbeddingModel
) -> None:
    first, second = await pending(database, 2)

    async def process(row: Image, end: str) -> None:
        with correlation.bound(f"of-{row.id}"):
            (owned,) = await claim(moves, row)
            await moves.keep_vectors(owned, {model.id: unit_vector(0)})
            if end == "done":
                await moves.finish(owned, [model.id])
            else:
                await moves.fail(Failure(owned.fence, end, "It is."))

    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await asyncio.gather(process(first, "done"), process(second, "broken"))
    for row, after, code in ((first, "done", None), (second, "error", "broken")):
        told = [line for line in logs if line["image_id"] == str(row.id)]
        assert [(line["from"], line["to"]) for line in told] == [
            ("pending", "embedding"),
            ("embedding", "indexing"),
            ("indexing", after),
        ]
        assert {(line["event"], line["request_id"], line["attempt"]) for line in told} == {
            ("image_moved", f"of-{row.id}", 1)
        }
        assert all(line["ms"] >= 0 for line in told)
        assert told[-1].get("code") == code


async def test_what_was_not_moved_is_not_told(database: Database, moves: Moves) -> None:
    (row,) = await pending(database, 1)
    (owned,) = await claim(moves, row)
    await expire_lease(database, row.id)
    with structlog.testing.capture_logs() as logs, pytest.raises(OwnershipLost):
        await moves.fail(Failure(owned.fence, "broken", "It is."))
    assert logs == []


async def test_a_claim_brings_what_the_pipeline_needs(database: Database, moves: Moves, model: EmbeddingModel) -> None:
    (row,) = await record_pending(database, new_image(category="shoes", tags=["brown"]))
    work = await moves.claim(row.id)
    assert work is not None
    assert (work.data, work.pixels, work.vectors, work.thumbnail) == (None, {}, {}, None)
    assert not work.embedded_before
    shared = {"id", "owner_id", "folder_id", "sha256", "object_key", "media_type", "byte_size", "category", "tags"}
    assert {name: getattr(work.claim, name) for name in shared} == {name: getattr(row, name) for name in shared}
    assert (work.claim.attempt, work.claim.tries_left) == (1, TRIES - 1)
    claimed = await load(database, row.id)
    assert (claimed.lease_owner, claimed.model_id) == ("worker-a", model.id)


async def test_what_is_not_due_is_not_claimed(database: Database, moves: Moves) -> None:
    (row,) = await pending(database, 1)
    await claim(moves, row)
    assert await moves.claim(row.id) is None
    assert await moves.claim(uuid4()) is None


async def test_of_many_claims_of_one_image_one_gets_the_work(
    database: Database, moves: Moves, model: EmbeddingModel
) -> None:
    (row,) = await pending(database, 1)
    other = Moves(database, "worker-b")
    works = await asyncio.gather(*(each.claim(row.id) for _ in range(10) for each in (moves, other)))
    assert sum(work is not None for work in works) == 1
    await other.close()


async def test_bytes_that_were_embedded_before_bring_their_vector(
    database: Database, moves: Moves, model: EmbeddingModel
) -> None:
    known, unknown = await pending(database, 2)
    await keep_embeddings(database, model, [known.sha256])
    works = await asyncio.gather(moves.claim(known.id), moves.claim(unknown.id))
    assert [work is not None and work.embedded_before for work in works] == [True, False]
    assert works[0] is not None
    assert np.array_equal(works[0].vector, unit_vector())  # type: ignore[arg-type] # it is there: `embedded_before`


async def test_a_vector_of_another_model_is_no_vector(database: Database, moves: Moves) -> None:
    (row,) = await pending(database, 1)
    other = EmbeddingModel(name="x", pretrained="x", dim=4, preprocess_version=1, state="building", collection="x")
    async with database.begin() as session:
        session.add(other)
    await keep_embeddings(database, other, [row.sha256])
    work = await moves.claim(row.id)
    assert work is not None
    assert not work.embedded_before


async def test_the_whole_way(database: Database, moves: Moves, model: EmbeddingModel) -> None:
    rows = await pending(database, 10)
    claims = await claim(moves, *rows)
    await asyncio.gather(*(moves.keep_vectors(item, {model.id: unit_vector(at)}) for at, item in enumerate(claims)))
    assert await statuses(database, *rows) == ["indexing"] * 10
    async with database.begin() as session:
        kept = await embeddings.find(session, model.id, [item.sha256 for item in claims])
    assert all(np.array_equal(kept[item.sha256], unit_vector(at)) for at, item in enumerate(claims))
    await asyncio.gather(*(moves.finish(item, [model.id]) for item in claims))
    assert await statuses(database, *rows) == ["done"] * 10


async def test_concurrent_moves_are_one_statement(
    database: Database, moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = await pending(database, 40)
    sizes: list[int] = []
    claim_rows = lifecycle.claim

    async def counted(session: AsyncSession, ids: list[UUID], *rest: Any, **options: Any) -> list[Claim]:
        sizes.append(len(ids))
        return await claim_rows(session, ids, *rest, **options)

    monkeypatch.setattr(lifecycle, "claim", counted)
    await claim(moves, *rows)
    assert sizes == [40]


async def test_failures_and_releases_say_why(database: Database, moves: Moves) -> None:
    failed, released = await pending(database, 2)
    first, second = await claim(moves, failed, released)
    await asyncio.gather(
        moves.fail(Failure(first.fence, "image_truncated", "half of it is missing")),
        moves.release(Release(second.fence, timedelta(hours=1), refund=True, code="storage_unavailable")),
    )
    row = await load(database, failed.id)
    assert (row.status, row.error_code, row.error_message) == ("error", "image_truncated", "half of it is missing")
    row = await load(database, released.id)
    assert (row.status, row.tries_left) == ("pending", TRIES)
    assert await moves.claim(released.id) is None, "not due for an hour"


async def test_a_failure_in_a_hostile_images_words_harms_no_other(database: Database, moves: Moves) -> None:
    rows = await pending(database, 2)
    hostile, other = await claim(moves, *rows)
    await asyncio.gather(
        moves.fail(Failure(hostile.fence, "image_corrupt", "a chunk named \0\x1b[31m")),
        moves.fail(Failure(other.fence, "image_truncated", "half of it is missing")),
    )
    assert await statuses(database, *rows) == ["error"] * 2
    assert (await load(database, rows[0].id)).error_message == "a chunk named \N{REPLACEMENT CHARACTER}\x1b[31m"


@pytest.mark.parametrize("move", ["keep_vectors", "finish", "fail", "release"])
async def test_who_lost_an_image_is_told_and_neighbours_move_on(
    database: Database, moves: Moves, model: EmbeddingModel, move: str
) -> None:
    rows = await pending(database, 3)
    claims = await claim(moves, *rows)
    if move == "finish":
        await asyncio.gather(*(moves.keep_vectors(item, {model.id: unit_vector()}) for item in claims))
    await expire_lease(database, rows[1].id)

    async def go(item: Claim) -> None:
        match move:
            case "keep_vectors":
                await moves.keep_vectors(item, {model.id: unit_vector()})
            case "finish":
                await moves.finish(item, [model.id])
            case "fail":
                await moves.fail(Failure(item.fence, "broken", "It is broken."))
            case _:
                await moves.release(Release(item.fence, timedelta(0), refund=False))

    outcomes = await asyncio.gather(*map(go, claims), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), OwnershipLost, type(None)]
    after = {"keep_vectors": "indexing", "finish": "done", "fail": "error", "release": "pending"}[move]
    assert await statuses(database, *rows) == [after, "embedding", after]


async def test_the_vector_of_a_lost_image_is_not_kept(database: Database, moves: Moves, model: EmbeddingModel) -> None:
    owned, lost = await pending(database, 2)
    claims = await claim(moves, owned, lost)
    await expire_lease(database, lost.id)
    await asyncio.gather(
        *(moves.keep_vectors(item, {model.id: unit_vector()}) for item in claims), return_exceptions=True
    )
    async with database.begin() as session:
        kept = await embeddings.find(session, model.id, [owned.sha256, lost.sha256])
    assert set(kept) == {owned.sha256}


async def test_renewing_tells_what_is_still_owned(database: Database, moves: Moves) -> None:
    rows = await pending(database, 3)
    claims = await claim(moves, *rows)
    await expire_lease(database, rows[0].id)
    before = (await load(database, rows[1].id)).lease_until
    owned = await moves.renew([*(item.fence for item in claims), Fence(uuid4(), 1)])
    assert owned == {rows[1].id, rows[2].id}
    after = (await load(database, rows[1].id)).lease_until
    assert before is not None
    assert after is not None
    assert after > before


async def test_a_failed_transaction_reaches_every_caller(
    moves: Moves, database: Database, model: EmbeddingModel
) -> None:
    rows = await pending(database, 3)
    claims = await claim(moves, *rows)
    async with database.begin() as session:
        await session.execute(text("ALTER TABLE embeddings RENAME TO elsewhere"))
    outcomes = await asyncio.gather(
        *(moves.keep_vectors(item, {model.id: unit_vector()}) for item in claims), return_exceptions=True
    )
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert await statuses(database, *rows) == ["embedding"] * 3, "one transaction: no vector, no move"


async def test_close_writes_what_waits(database: Database, model: EmbeddingModel) -> None:
    moves = Moves(database, "worker-a")
    (row,) = await pending(database, 1)
    (owned,) = await claim(moves, row)
    writing = asyncio.create_task(moves.keep_vectors(owned, {model.id: unit_vector()}))
    await asyncio.sleep(0)
    await moves.close()
    await writing
    assert await statuses(database, row) == ["indexing"]


async def test_a_claim_that_is_being_written_when_the_worker_stops_is_given_back(
    database: Database, moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = await pending(database, 1)
    entered, go_on = asyncio.Event(), asyncio.Event()
    claim_rows = lifecycle.claim

    async def slow(*arguments: Any, **options: Any) -> list[Claim]:
        entered.set()
        await go_on.wait()
        return await claim_rows(*arguments, **options)

    monkeypatch.setattr(lifecycle, "claim", slow)
    pipeline = Pipeline([], moves, Leases(moves), images_in_flight=1)
    working = asyncio.create_task(pipeline.process_all([row.id]))
    await entered.wait()
    stopping = asyncio.create_task(pipeline.stop(0))
    await asyncio.sleep(0.01)  # the grace of nothing is over
    go_on.set()
    await asyncio.gather(working, stopping)
    left = await load(database, row.id)
    assert (left.status, left.tries_left, left.attempt) == ("pending", TRIES, 1)
