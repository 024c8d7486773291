"""Live models that are remembered are as good as those that are read: what is out of date is found out."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import pytest

from api.live_models import RememberedModels
from common.db import embedding_models, model_lifecycle, reads
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, EmbeddingModel
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import ConfigurationError, Conflict, DatabaseUnavailable, LikenessError, VectorIndexUnavailable
from common.vectors.base import Collection, VectorIndex
from tests.fixtures.rows import activate_model, add_model, model_info

Search = Callable[[Sequence[EmbeddingModel]], Awaitable[tuple[list[str], str]]]


class Index:
    """Notes which collections it is to know, and can't have some."""

    def __init__(self) -> None:
        self.ensured: list[str] = []
        self.broken: set[str] = set()

    async def ensure(self, collection: Collection) -> None:
        self.ensured.append(collection.name)
        if collection.name in self.broken:
            raise ConfigurationError("it has another dimension")


class Embedder:
    """Serves the model of the tests."""

    async def models(self) -> list[ModelInfo]:
        return [model_info()]


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def remembered(database: Database, index: Index) -> RememberedModels:
    return RememberedModels(database, cast(VectorIndex, index), cast(EmbedderClient, Embedder()))


class Searches:
    """Answers with the names of the collections it was to ask."""

    def __init__(self, database: Database) -> None:
        self.done: list[list[str]] = []
        self.fails_for: dict[str, LikenessError] = {}
        self._database = database

    async def __call__(self, live: Sequence[EmbeddingModel]) -> tuple[list[str], str]:
        collections = [model.collection for model in live]
        self.done.append(collections)
        for error in (self.fails_for[name] for name in collections if name in self.fails_for):
            raise error
        return collections, (await reads.find_shown(self._database, LOCAL_OWNER_ID, [])).live_version


@pytest.fixture
def searches(database: Database) -> Searches:
    return Searches(database)


async def switch_and_retire(database: Database, model: EmbeddingModel, former: EmbeddingModel) -> None:
    """What another process does between two searches."""
    async with database.begin() as session:
        await model_lifecycle.promote(session, embedding_models.label(model))
    async with database.begin() as session:
        await model_lifecycle.retire(session, embedding_models.label(former))


async def test_the_second_search_asks_nobody(
    remembered: RememberedModels,
    searches: Searches,
    index: Index,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    active, other = await activate_model(database), await add_model(database)
    expected = [active.collection, other.collection]
    assert await remembered.answer(searches, settle=False) == expected
    monkeypatch.delattr(reads, "find_live")
    assert await remembered.answer(searches, settle=False) == expected
    assert (searches.done, index.ensured) == ([expected, expected], expected)


async def test_a_change_is_found_out_and_the_search_repeated(
    remembered: RememberedModels, searches: Searches, index: Index, database: Database
) -> None:
    active, other = await activate_model(database), await add_model(database)
    before = await remembered.answer(searches, settle=False)
    await switch_and_retire(database, other, active)
    index.ensured.clear()
    assert await remembered.answer(searches, settle=False) == [other.collection]
    assert searches.done == [before, before, [other.collection]]
    assert index.ensured == [other.collection]  # a retired model's would have been made anew


async def test_what_fails_for_models_that_are_gone_is_repeated(
    remembered: RememberedModels, searches: Searches, database: Database
) -> None:
    active, other = await activate_model(database), await add_model(database)
    await remembered.answer(searches, settle=False)
    await switch_and_retire(database, other, active)
    searches.fails_for[active.collection] = VectorIndexUnavailable("there is no such collection")
    assert await remembered.answer(searches, settle=False) == [other.collection]


async def test_what_fails_for_live_models_has_failed(
    remembered: RememberedModels, searches: Searches, database: Database
) -> None:
    active = await activate_model(database)
    searches.fails_for[active.collection] = failed = Conflict("no vector", code="image_not_indexed")
    with pytest.raises(Conflict) as raised:
        await remembered.answer(searches, settle=False)
    assert raised.value is failed
    assert len(searches.done) == 1


async def test_a_database_that_is_away_is_not_asked_again(
    remembered: RememberedModels, searches: Searches, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = await activate_model(database)
    await remembered.answer(searches, settle=False)
    searches.fails_for[active.collection] = DatabaseUnavailable("it stalls")
    monkeypatch.delattr(reads, "find_live")
    with pytest.raises(DatabaseUnavailable):
        await remembered.answer(searches, settle=False)


async def test_a_lost_collection_is_known_again_after_a_failure(
    remembered: RememberedModels, searches: Searches, index: Index, database: Database
) -> None:
    active = await activate_model(database)
    await remembered.answer(searches, settle=False)
    searches.fails_for[active.collection] = VectorIndexUnavailable("there is no such collection")
    with pytest.raises(VectorIndexUnavailable):
        await remembered.answer(searches, settle=False)
    assert index.ensured == [active.collection] * 2


async def test_without_a_model_the_embedders_is_settled_for_those_who_want_it(
    remembered: RememberedModels, searches: Searches
) -> None:
    assert await remembered.answer(searches, settle=False) == []
    (collection,) = await remembered.answer(searches, settle=True)
    assert await remembered.answer(searches, settle=False) == [collection]


async def test_only_the_active_models_collection_has_to_be_there(
    remembered: RememberedModels, searches: Searches, index: Index, database: Database
) -> None:
    active, other = await activate_model(database), await add_model(database)
    index.broken = {other.collection}
    assert await remembered.answer(searches, settle=False) == [active.collection, other.collection]
    index.broken = {active.collection}
    await switch_and_retire(database, other, active)
    assert await remembered.answer(searches, settle=False) == [other.collection]
    index.broken = {other.collection}
    searches.fails_for[other.collection] = VectorIndexUnavailable("there is no such collection")
    with pytest.raises(ConfigurationError, match="another dimension"):
        await remembered.answer(searches, settle=False)
