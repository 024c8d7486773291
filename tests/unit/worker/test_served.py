"""What workers know of the embedder's models: asked once, and again only where something is missing."""

from typing import cast

import pytest

from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import ConfigurationError, UnknownModel
from common.imaging import PREPROCESS_VERSION, Preprocess
from tests.fakes.reembedding import SECOND
from tests.fixtures.rows import DIM, model_info
from worker.served import ServedModels


class Embedder:
    """Counts how often it is asked."""

    def __init__(self, *served: ModelInfo) -> None:
        self.served = list(served)
        self.asked = 0

    async def models(self) -> list[ModelInfo]:
        self.asked += 1
        return self.served


def row(info: ModelInfo, dim: int = DIM, version: int = PREPROCESS_VERSION) -> EmbeddingModel:
    return EmbeddingModel(name=info.name, pretrained=info.pretrained, dim=dim, preprocess_version=version)


def served_by(embedder: Embedder) -> ServedModels:
    return ServedModels(cast(EmbedderClient, embedder))


async def test_it_asks_once_for_all_models() -> None:
    embedder = Embedder(model_info(), SECOND)
    served = served_by(embedder)
    for info in (model_info(), SECOND, model_info()):
        assert await served.find(row(info)) == info
    assert await served.preprocess(row(SECOND)) == Preprocess(8)
    assert embedder.asked == 1


async def test_a_model_that_is_not_served_has_not_every_image_ask() -> None:
    embedder = Embedder(model_info())
    served = served_by(embedder)
    for _ in range(5):
        with pytest.raises(UnknownModel, match="ViT-Tiny/second, only ViT-Tiny/tests: name it in EMBEDDER__ALSO"):
            await served.find(row(SECOND))
    assert embedder.asked == 1
    embedder.served.append(SECOND)
    assert await served.ask_for(SECOND.label) == SECOND, "who is about to begin with it does ask"
    assert await served.find(row(SECOND)) == SECOND


async def test_of_embedders_of_two_releases_those_of_this_one_count() -> None:
    newer = model_info(preprocess_version=PREPROCESS_VERSION + 1)
    served = served_by(Embedder(newer, model_info(), newer))
    assert await served.find(row(model_info())) == model_info()


async def test_it_asks_again_where_another_version_was_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.served._ASK_AGAIN_S", 0.0)
    embedder = Embedder(model_info(preprocess_version=PREPROCESS_VERSION + 1))
    served = served_by(embedder)
    with pytest.raises(UnknownModel, match="another version"):
        await served.find(row(model_info()))
    embedder.served = [model_info()]
    assert await served.find(row(model_info())) == model_info()


@pytest.mark.parametrize("changes", [{"dim": DIM + 1}, {"version": PREPROCESS_VERSION + 1}])
async def test_another_model_of_the_same_name_is_none(changes: dict[str, int]) -> None:
    with pytest.raises(UnknownModel, match="another version"):
        await served_by(Embedder(SECOND)).find(row(SECOND, **changes))


async def test_what_can_not_be_begun_is_no_outage() -> None:
    newer = model_info(preprocess_version=PREPROCESS_VERSION + 1)
    served = served_by(Embedder(newer))
    for wanted in ("nobody/knows", newer.label):
        with pytest.raises(ConfigurationError) as refusal:
            await served.ask_for(wanted)
        assert refusal.value.code == "unknown_model"
