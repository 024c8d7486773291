"""Payloads in the index follow the rows, whoever writes last, and through outages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog

from common.attributes import Value
from common.db import images
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, EmbeddingModel, Image
from common.errors import VectorIndexUnavailable
from common.payloads import payload_of, sync_payload, try_sync_payload
from common.vectors.base import Collection, Filter, Payload, Point
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.indexes import unreliable_index
from tests.fixtures.rows import activate_model, load, new_image, record_done, record_pending, unit_vector


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[UnreliableIndex]:
    async with unreliable_index(tmp_path) as opened:
        yield opened


@pytest.fixture
async def model(database: Database) -> EmbeddingModel:
    return await activate_model(database)


@pytest.fixture
async def image(database: Database, index: UnreliableIndex, model: EmbeddingModel) -> Image:
    """An image that is `done`, and its point."""
    (row,) = await record_done(database, new_image(category="shoes", tags=["brown"]))
    collection = Collection(model.collection, model.dim)
    await index.ensure(collection)
    await index.upsert(collection, [Point(row.id, unit_vector(), payload_of(row))])
    return row


async def edit(database: Database, image: Image, **changes: Any) -> Image:
    async with database.begin() as session:
        return await images.edit(session, LOCAL_OWNER_ID, image.id, changes)


async def found(index: UnreliableIndex, model: EmbeddingModel, **wanted: Any) -> list[UUID]:
    matches = await index.query(
        Collection(model.collection, model.dim), unit_vector(), filter=Filter(LOCAL_OWNER_ID, **wanted), limit=10
    )
    return [match.id for match in matches]


async def in_step(database: Database, image: Image) -> bool:
    row = await load(database, image.id)
    return row.indexed_version == row.payload_version


def test_a_payload_is_what_searches_filter_by() -> None:
    row = Image(
        id=UUID(int=1),
        owner_id=UUID(int=2),
        folder_id=UUID(int=3),
        category="shoes",
        tags=["a", "b"],
        attributes={"price": 9.5, "sold": True, "notes": ["not", "plain"]},
        labels={"tagging": {"a star": 0.9, "a moon": 1}, "faces": {"a moon": 0.5}},
        visibility="hidden",
        title="Oxford",
    )
    plain: dict[str, Value] = {"price": 9.5, "sold": "true"}
    expected = Payload(UUID(int=2), UUID(int=3), "shoes", ("a", "b"), row.created_at, plain, ("a moon", "a star"), True)
    assert payload_of(row) == expected


async def test_searches_follow_an_edit(
    database: Database, index: UnreliableIndex, model: EmbeddingModel, image: Image
) -> None:
    edited = await edit(database, image, category=None, tags=["red"])
    assert not await in_step(database, image)
    await sync_payload(database, index, [model], edited)
    assert await in_step(database, image)
    assert await found(index, model, tags=("red",)) == [image.id]
    assert await found(index, model, category="shoes") == []


async def test_what_is_not_done_has_no_payload_yet(
    database: Database, index: UnreliableIndex, model: EmbeddingModel
) -> None:
    (waiting,) = await record_pending(database, new_image())
    await sync_payload(database, index, [model], await edit(database, waiting, category="hats"))
    assert index.payloads == []
    assert not await in_step(database, waiting)


async def test_an_outage_is_left_to_the_sweep(
    database: Database, index: UnreliableIndex, model: EmbeddingModel, image: Image
) -> None:
    edited = await edit(database, image, category="hats")
    index.down = True
    with pytest.raises(VectorIndexUnavailable):
        await sync_payload(database, index, [model], edited)
    with structlog.testing.capture_logs() as logs:
        await try_sync_payload(database, index, [model], edited)
    assert [(entry["event"], entry["code"]) for entry in logs] == [("payload_postponed", "vector_index_unavailable")]
    assert not await in_step(database, image)


class Overtaken(UnreliableIndex):
    """An index that is slow: before a payload is written, something else happens, once."""

    def __init__(self, index: UnreliableIndex, happens: Callable[[], Awaitable[object]]) -> None:
        super().__init__(index)
        self._happens: Callable[[], Awaitable[object]] | None = happens

    async def set_payload(self, collection: Collection, id: UUID, payload: Payload) -> None:  # noqa: A002
        if self._happens is not None:
            happens, self._happens = self._happens, None
            await happens()
        await super().set_payload(collection, id, payload)


async def test_an_edit_overtaken_by_a_later_one_does_not_have_the_last_word(
    database: Database, index: UnreliableIndex, model: EmbeddingModel, image: Image
) -> None:
    async def later() -> None:
        await sync_payload(database, index, [model], await edit(database, image, category="later"))

    await sync_payload(database, Overtaken(index, later), [model], await edit(database, image, category="earlier"))
    assert await found(index, model, category="later") == [image.id]
    assert await in_step(database, image)


async def test_many_edits_at_once_end_with_the_last(
    database: Database, index: UnreliableIndex, model: EmbeddingModel, image: Image
) -> None:
    async def change(number: int) -> None:
        await sync_payload(database, index, [model], await edit(database, image, category=str(number)))

    await asyncio.gather(*map(change, range(20)))
    last = await load(database, image.id)
    assert last.category is not None
    assert await found(index, model, category=last.category) == [image.id]
    assert await in_step(database, image)


async def test_an_image_deleted_meanwhile_is_nobodys_business(
    database: Database, index: UnreliableIndex, model: EmbeddingModel, image: Image
) -> None:
    async def delete() -> None:
        async with database.begin() as session:
            await images.delete(session, LOCAL_OWNER_ID, image.id)
        await index.delete(Collection(model.collection, model.dim), [image.id])

    await sync_payload(database, Overtaken(index, delete), [model], await edit(database, image, category="hats"))
    assert await found(index, model) == []
