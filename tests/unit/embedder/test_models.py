"""Several models in one service."""

import asyncio
import threading

import numpy as np
import pytest

from common.errors import ConfigurationError, EmbedderUnavailable, UnknownModel
from embedder.model import ClipModel, HubUnreachable, ObserveStep
from embedder.settings import EmbedderSettings, ModelChoice, Settings
from tests.fakes.clip_model import SIZE, FakeClipModel
from tests.unit.embedder.conftest import Serve

PIXELS = np.zeros((SIZE, SIZE, 3), np.uint8)


def load(settings: EmbedderSettings, _observe: ObserveStep) -> ClipModel:
    return FakeClipModel(name=settings.model, dim=8 if settings.model == "small" else 16)


@pytest.mark.parametrize(
    ("word", "model", "pretrained"),
    [
        ("demo", "demo", ""),
        ("ViT-B-32/openai", "ViT-B-32", "openai"),
        ("ViT-B-32//models/mine.pt", "ViT-B-32", "/models/mine.pt"),
        ("hf-hub:some/model", "hf-hub:some/model", ""),
        ("hf-hub:some/model/0123456789ab", "hf-hub:some/model", "0123456789ab"),
    ],
)
def test_a_model_is_chosen_by_one_word(word: str, model: str, pretrained: str) -> None:
    choice = ModelChoice.model_validate(word)

    assert (choice.model, choice.pretrained, str(choice)) == (model, pretrained, word)


def test_further_models_are_separated_by_commas() -> None:
    settings = EmbedderSettings.model_validate({"also": "demo, ViT-B-32/random,", "fallback": "demo"})

    assert [str(choice) for choice in settings.also] == ["demo", "ViT-B-32/random"]
    second = settings.of(settings.also[1])
    assert (second.choice, second.also, second.fallback) == (settings.also[1], (), "none")
    assert EmbedderSettings.model_validate({"also": ""}).also == ()


def test_they_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDER__ALSO", "likeness-demo/random,hf-hub:some/model")

    assert list(map(str, Settings().embedder.also)) == ["likeness-demo/random", "hf-hub:some/model"]


async def test_each_call_is_answered_by_the_model_it_asks_for(serve: Serve) -> None:
    async with serve(load, model="large", also="small") as served:
        await served.wait_for("ready")
        models = await served.client.models()
        small = served.client.serving("small/seed-0")
        vectors = [
            *await served.client.encode_texts(["a"]),
            *await served.client.encode_pixels([PIXELS]),
            *await small.encode_texts(["a"]),
            *await small.encode_pixels([PIXELS]),
        ]
        metrics = (await served.http.get("/metrics")).text

    assert [model.label for model in models] == ["large/seed-0", "small/seed-0"]
    assert [len(vector) for vector in vectors] == [16, 16, 8, 8]
    for label in ("large/seed-0", "small/seed-0"):
        assert (
            f'likeness_embedder_batch_items_count{{kind="text",model="{label}",priority="interactive"}} 1.0' in metrics
        )


async def test_a_model_that_is_not_served_is_unknown(serve: Serve) -> None:
    async with serve(load, model="large", also="small") as served:
        await served.wait_for("ready")
        with pytest.raises(UnknownModel, match="served: large/seed-0, small/seed-0"):
            await served.client.serving("other/x").encode_texts(["a"])
        response = await served.http.get("/model", params={"model": "other/x"})

    assert (response.status_code, response.json()["code"]) == (404, "unknown_model")


async def test_a_model_named_twice_is_one(serve: Serve) -> None:
    async with serve(load, model="large", also="large/seed-0") as served:
        await served.wait_for("ready")

        assert [model.label for model in await served.client.models()] == ["large/seed-0"]
        assert (await served.client.ready()).detail == "serving large/seed-0"


async def test_it_is_ready_when_all_models_are(serve: Serve) -> None:
    release = threading.Event()

    def load_slowly(settings: EmbedderSettings, observe: ObserveStep) -> ClipModel:
        if settings.model == "small":
            release.wait()
        return load(settings, observe)

    async with serve(load_slowly, model="large", also="small") as served:
        try:
            while (ready := await served.client.ready()).model is None:  # noqa: ASYNC110 - seen by an outsider
                await asyncio.sleep(0.005)
            assert (ready.status, ready.detail) == ("starting", "small: the model is loading")
            # Until then nobody is told that a model is unknown, or that these are all.
            with pytest.raises(EmbedderUnavailable, match="not all models are loaded yet"):
                await served.client.serving("small/seed-0").model()
            with pytest.raises(EmbedderUnavailable, match="not all models are loaded yet"):
                await served.client.models()
        finally:
            release.set()
        await served.wait_for("ready")
        assert len(await served.client.models()) == 2


@pytest.mark.parametrize("error", [HubUnreachable("no network"), ConfigurationError("no such weights")])
async def test_a_further_model_that_cant_be_loaded_leaves_the_default_to_be_served(
    serve: Serve, error: ConfigurationError
) -> None:
    def load_one(settings: EmbedderSettings, observe: ObserveStep) -> ClipModel:
        if settings.model == "small":
            raise error
        return load(settings, observe)

    async with serve(load_one, model="large", also="small/x") as served:
        await served.wait_for("failed")
        ready = await served.client.ready()
        models = await served.client.models()
        await served.client.encode_texts(["a"])
        with pytest.raises(UnknownModel):
            await served.client.serving("small/x").encode_texts(["a"])

    assert ready.detail == f"small/x: {error}"
    assert [model.label for model in models] == ["large/seed-0"]


async def test_another_version_of_preprocessing_than_is_asked_for_answers_nobody(serve: Serve) -> None:
    async with serve(load, model="large") as served:
        await served.wait_for("ready")
        (model,) = await served.client.models()
        here = served.client.serving(model.label, model.preprocess_version)
        await here.encode_texts(["a"])
        elsewhere = served.client.serving(model.label, model.preprocess_version + 1)
        elsewhere.pin(model.model_copy(update={"preprocess_version": model.preprocess_version + 1}))
        with pytest.raises(UnknownModel, match="run the same release"):
            await elsewhere.encode_texts(["a"])
        with pytest.raises(UnknownModel, match="run the same release"):
            await elsewhere.model()


async def test_trouble_of_one_model_is_named(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedder.canary._FRESH_S", 0)
    small = FakeClipModel(name="small")

    def load_these(settings: EmbedderSettings, observe: ObserveStep) -> ClipModel:
        return small if settings.model == "small" else load(settings, observe)

    async with serve(load_these, model="large", also="small") as served:
        await served.wait_for("ready")
        small.distort = lambda vectors: -vectors
        ready = await served.client.ready()

    assert ready.detail == "small: a known picture has another vector than at start"
