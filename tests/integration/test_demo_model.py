"""The bundled demo model, loaded as the embedder loads any model, on pictures its training never saw."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NoReturn

import open_clip
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from embedder.demo import weights
from embedder.demo.batches import TRAINING_SEEDS, VALIDATION_SEEDS, SceneBatches
from embedder.demo.evaluate import draw_scenes, embed_images, embed_texts, evaluate
from embedder.demo.scenes import Scene, draw_scene
from embedder.demo.trainer import Trainer

FRESH_SEEDS = range(2_000_000, 2_001_000)


def refuse_network(*_: object) -> NoReturn:
    raise AssertionError("the demo model must load without a network")


@pytest.fixture(scope="module")
def model() -> Iterator[tuple[open_clip.CLIP, weights.Preprocess]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse_network)
        patch.setattr(socket, "getaddrinfo", refuse_network)
        open_clip.add_model_config(weights.CONFIG)
        loaded, preprocess = open_clip.create_model_from_pretrained("likeness-demo", pretrained=str(weights.WEIGHTS))
        yield loaded.eval(), preprocess


@dataclass(frozen=True)
class Gallery:
    """Fresh pictures, and the model to look through them with."""

    scenes: list[Scene]
    images: Tensor
    model: open_clip.CLIP

    def describe(self, texts: list[str]) -> Tensor:
        return embed_texts(self.model, open_clip.get_tokenizer("likeness-demo"), texts)

    def search(self, text: str, limit: int) -> list[Scene]:
        scores = (self.describe([text]) @ self.images.T)[0]
        return [self.scenes[index] for index in scores.topk(limit).indices.tolist()]


@pytest.fixture(scope="module")
def gallery(model: tuple[open_clip.CLIP, weights.Preprocess]) -> Gallery:
    scenes, pictures = draw_scenes(FRESH_SEEDS, 160)
    return Gallery(scenes, embed_images(*model, pictures), model[0])


def test_fresh_pictures_are_none_of_the_training() -> None:
    assert not set(FRESH_SEEDS) & (set(TRAINING_SEEDS) | set(VALIDATION_SEEDS))


def test_retrieval_among_a_thousand_fresh_scenes(gallery: Gallery) -> None:
    result = evaluate(gallery.scenes, gallery.images, gallery.describe)
    assert len(set(gallery.scenes)) > 700  # many descriptions, so the figures mean something
    assert result.text_recall >= 0.9
    assert result.shared_attributes >= 3.1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("red circle", {"colour": "red", "shape": "circle"}),
        ("three stars", {"shape": "star", "count": 3}),
        ("a green background", {"background": "green"}),
        ("a photo of blue hearts", {"colour": "blue", "shape": "heart"}),
    ],
)
def test_partial_descriptions_find_scenes_that_fit(gallery: Gallery, text: str, wanted: dict[str, str | int]) -> None:
    def fits(scene: Scene) -> bool:
        return all(getattr(scene, name) == value for name, value in wanted.items())

    there_are = sum(map(fits, gallery.scenes))
    found = gallery.search(text, limit=there_are)
    assert sum(map(fits, found)) >= 0.8 * there_are > 4


def test_sentence_of_the_readme_finds_its_pictures(model: tuple[open_clip.CLIP, weights.Preprocess]) -> None:
    wanted = Scene("red", "circle", 1, "blue")
    near = [
        Scene("red", "circle", 2, "blue"),
        Scene("blue", "circle", 1, "red"),
        Scene("red", "ring", 1, "blue"),
        Scene("red", "circle", 1, "purple"),
        Scene("orange", "circle", 1, "blue"),
    ]
    scenes = [*near, wanted] * 8
    pictures = [draw_scene(scene, Random(seed), 320) for seed, scene in enumerate(scenes, FRESH_SEEDS.stop)]
    gallery = Gallery(scenes, embed_images(*model, pictures), model[0])
    assert gallery.search("a red circle on a blue background", limit=8) == [wanted] * 8


def test_model_reads_as_float32_from_a_small_half_precision_file(
    model: tuple[open_clip.CLIP, weights.Preprocess],
) -> None:
    assert weights.WEIGHTS.stat().st_size < 12_000_000
    with safe_open(weights.WEIGHTS, framework="pt") as stored:
        stored_types = {stored.get_tensor(key).dtype for key in stored.keys()}  # noqa: SIM118 - no mapping
    assert stored_types == {torch.float16, torch.int64}  # the integers count batches seen
    assert {parameter.dtype for parameter in model[0].parameters()} == {torch.float32}


def test_configuration_and_preprocessing_agree(model: tuple[open_clip.CLIP, weights.Preprocess]) -> None:
    config = json.loads(weights.CONFIG.read_text())
    preprocessing = model[0].visual.preprocess_cfg
    assert preprocessing["size"] == config["vision_cfg"]["image_size"] == 64
    assert (preprocessing["interpolation"], preprocessing["resize_mode"]) == ("bicubic", "shortest")
    tokens = open_clip.get_tokenizer("likeness-demo")(["a red circle on a blue background"])
    assert tokens.shape == (1, config["text_cfg"]["context_length"])


def test_saved_weights_load_again(tmp_path: Path) -> None:
    trainer = Trainer(steps=4, seed=1)
    path = tmp_path / "model.safetensors"
    weights.save(trainer.model, path)
    loaded, _ = weights.load(path)
    for key, tensor in trainer.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor.half().to(tensor.dtype)), key
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_training_learns_and_repeats_itself() -> None:
    def losses() -> list[float]:
        trainer = Trainer(steps=12, seed=3)
        batch = SceneBatches(TRAINING_SEEDS[:1], batch_size=16, image_size=64)[0]
        return [trainer.step(batch) for _ in range(12)]

    first = losses()
    assert first[-1] < 0.8 * first[0]
    assert losses() == first
