"""Which model is active: settled once, by one of many, and held against every embedder that comes later."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from common.active_model import agree_on_model
from common.db import embedding_models
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo, Models
from common.errors import ConfigurationError
from common.settings import EmbedderClientSettings
from common.vectors.base import Collection
from tests.fixtures.rows import activate_model, count, model_info


async def settle(database: Database, served: ModelInfo) -> EmbeddingModel:
    async with database.begin() as session:
        return await embedding_models.settle_active(session, served)


async def test_a_new_database_has_no_model(database: Database) -> None:
    async with database.begin() as session:
        assert await embedding_models.find_active(session) is None
        assert await embedding_models.list_live(session) == []


async def test_the_first_model_served_becomes_the_active_one(database: Database) -> None:
    served = model_info()
    model = await settle(database, served)
    assert (model.name, model.pretrained, model.dim, model.preprocess_version, model.state) == (
        served.name,
        served.pretrained,
        served.dim,
        served.preprocess_version,
        "active",
    )
    assert embedding_models.label(model) == served.label
    async with database.begin() as session:
        found = await embedding_models.find_active(session)
    assert found is not None
    assert found.id == model.id


async def test_of_many_that_start_at_once_one_settles_it_for_all(database: Database) -> None:
    models = await asyncio.gather(*(settle(database, model_info()) for _ in range(20)))
    assert len({model.id for model in models}) == 1
    assert await count(database, "embedding_models") == 1


@pytest.mark.parametrize(
    "changes", [{"name": "ViT-L-14"}, {"pretrained": "laion2b"}, {"dim": 8}, {"preprocess_version": 2}]
)
async def test_another_model_is_refused_with_the_way_out(database: Database, changes: dict[str, Any]) -> None:
    await activate_model(database)
    with pytest.raises(ConfigurationError, match="likeness reembed") as caught:
        await settle(database, model_info(**changes))
    assert caught.value.code == "wrong_model"
    assert await count(database, "embedding_models") == 1


async def test_where_it_runs_makes_it_no_other_model(database: Database) -> None:
    first = await settle(database, model_info())
    assert (await settle(database, model_info(device="cuda", precision="fp16"))).id == first.id


def embedder_of(*models: ModelInfo) -> EmbedderClient:
    answer = Models(default=models[0].label, models=list(models)).model_dump()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    return EmbedderClient(EmbedderClientSettings(), transport=transport)


async def test_of_several_models_served_the_active_one_is_agreed_on(database: Database) -> None:
    ours, other, third = model_info(), model_info(name="other"), model_info(name="third")
    for served in ([ours], [ours, other], [other, ours]):  # the first settles which it is
        async with embedder_of(*served) as client:
            model, info = await agree_on_model(database, client)
        assert (embedding_models.label(model), info) == (ours.label, ours)
    async with embedder_of(other, third) as client:
        with pytest.raises(ConfigurationError, match="the embedder serves other/tests"):
            await agree_on_model(database, client)


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("hf-hub:timm/ViT-B-16-SigLIP", "hub"),
        ("ViT-B-32-quickgelu", "my weights (final).pt-0a1b2c3d"),
        ("模型", "权重"),
        ("x" * 200, "y" * 200),
    ],
)
async def test_every_model_gets_a_collection_that_can_be_named_so(
    database: Database, name: str, pretrained: str
) -> None:
    model = await settle(database, model_info(name=name, pretrained=pretrained))
    Collection(model.collection, model.dim)  # raises for a name that is none


async def test_the_database_itself_holds_no_two_active_models(database: Database) -> None:
    await activate_model(database)
    second = EmbeddingModel(
        name="second", pretrained="x", dim=4, preprocess_version=1, state="active", collection="second"
    )
    with pytest.raises(IntegrityError):
        async with database.begin() as session:
            session.add(second)


async def test_retired_models_are_not_written_to(database: Database) -> None:
    await activate_model(database)
    async with database.begin() as session:
        await session.execute(text("UPDATE embedding_models SET state = 'retired'"))
        assert await embedding_models.list_live(session) == []
        assert await embedding_models.find_active(session) is None
