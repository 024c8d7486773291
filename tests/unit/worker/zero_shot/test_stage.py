"""The stage of both extensions, with a model of three directions."""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from common.db.models import EmbeddingModel
from common.errors import EmbedderUnavailable
from tests.fakes.moves import create_claim
from worker.extensions import StageContext
from worker.work import Work
from worker.zero_shot.settings import ZeroShotSettings
from worker.zero_shot.stage import ZeroShot

Vector = NDArray[np.float32]
TEXTS: dict[str, Vector] = {
    "a star": np.array([1, 0, 0], dtype=np.float32),
    "a moon": np.array([0, 1, 0], dtype=np.float32),
    "a picture": np.array([0, 0, 1], dtype=np.float32),
}
ACTIVE = EmbeddingModel(id=1, name="ViT", pretrained="old", dim=3)
BUILDING = EmbeddingModel(id=2, name="ViT", pretrained="new", dim=3)
SETTINGS = ZeroShotSettings.model_validate({"labels": {"star": "a star", "moon": "a moon"}})


class Embedder:
    """Knows the texts, whichever model is asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.error: Exception | None = None
        self.models: dict[str, Embedder] = {}

    def serving(self, label: str, _version: int) -> "Embedder":
        return self.models.get(label, self)

    async def encode_texts(self, texts: Sequence[str]) -> list[Vector]:
        self.asked.append(list(texts))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [TEXTS[text] for text in texts]


class KeptLabels:
    def __init__(self) -> None:
        self.kept: list[tuple[str, Mapping[str, float], bool | None]] = []

    async def keep(self, work: Work, source: str, scores: Mapping[str, float], *, hide: bool | None = None) -> None:
        assert work.vector is not None
        self.kept.append((source, {label: round(score, 6) for label, score in scores.items()}, hide))


def create(hides: bool = False, settings: ZeroShotSettings = SETTINGS) -> tuple[ZeroShot, Embedder, KeptLabels]:
    embedder, labels = Embedder(), KeptLabels()
    context: Any = SimpleNamespace(embedder=embedder, labels=labels)
    return ZeroShot("tagging", settings, cast(StageContext, context), hides=hides), embedder, labels


def image(*numbers: float) -> Work:
    vector = np.array(numbers, dtype=np.float32)
    vectors = {ACTIVE.id: vector / np.float32(np.linalg.norm(vector)), BUILDING.id: -vector}
    return Work(create_claim(uuid4()), models=[ACTIVE, BUILDING], vectors=vectors)


async def test_what_fits_is_kept_and_nothing_of_the_rest() -> None:
    stage, _, labels = create()
    for work in (image(1, 0, 0), image(1, 1, 0), image(0, 0, 1)):
        await stage.run(work)
    assert labels.kept == [
        ("tagging", {"star": 1.0}, None),
        ("tagging", {"moon": 1.0, "star": 1.0}, None),
        ("tagging", {}, None),
    ]


async def test_moderation_hides_what_has_any_label_and_takes_it_back_for_what_has_none() -> None:
    stage, _, labels = create(hides=True)
    await stage.run(image(1, 0, 0))
    await stage.run(image(0, 0, 1))
    assert [hide for _, _, hide in labels.kept] == [True, False]


async def test_only_the_best_are_kept() -> None:
    stage, _, labels = create(settings=SETTINGS.model_copy(update={"max": 1, "scale": 1, "threshold": 0.6}))
    await stage.run(image(1, 0.9, 0))
    await stage.run(image(0.9, 1, 0))
    assert [list(scores) for _, scores, _ in labels.kept] == [["star"], ["moon"]]


async def test_the_prompts_are_embedded_once_however_many_images_come() -> None:
    stage, embedder, labels = create()
    await asyncio.gather(*(stage.run(image(1, 0, 0)) for _ in range(9)))
    assert embedder.asked == [["a moon", "a picture", "a star"]]
    assert len(labels.kept) == 9


async def test_an_image_waits_while_the_embedder_is_down() -> None:
    stage, embedder, labels = create()
    embedder.error = EmbedderUnavailable("gone")
    outcomes = await asyncio.gather(*(stage.run(image(1, 0, 0)) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EmbedderUnavailable] * 3
    assert (labels.kept, len(embedder.asked)) == ([], 1)
    embedder.error = None
    await stage.run(image(1, 0, 0))
    assert len(labels.kept) == 1


async def test_the_active_model_is_asked_and_the_next_one_once_it_is_promoted() -> None:
    old, new = Embedder(), Embedder()
    stage, embedder, _ = create()
    embedder.models = {"ViT/old": old, "ViT/new": new}
    await stage.run(image(1, 0, 0))
    assert (len(old.asked), len(new.asked)) == (1, 0)
    promoted = image(1, 0, 0)
    promoted.models = [BUILDING, ACTIVE]
    await stage.run(promoted)
    assert (len(old.asked), len(new.asked)) == (1, 1)


async def test_it_comes_after_embed() -> None:
    stage, _, _ = create()
    with pytest.raises(RuntimeError, match="embed"):
        await stage.run(Work(create_claim(uuid4())))
