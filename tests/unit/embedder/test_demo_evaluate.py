"""The evaluation's two figures, on embeddings whose figures are known by construction."""

import pytest
import torch
from torch import Tensor

from embedder.demo.batches import encoded
from embedder.demo.evaluate import draw_scenes, evaluate
from embedder.demo.scenes import Scene

SCENES = [
    Scene("red", "circle", 1, "blue"),
    Scene("red", "circle", 1, "blue"),
    Scene("red", "circle", 2, "blue"),
    Scene("red", "star", 2, "blue"),
]


def ideal(scenes: list[Scene]) -> Tensor:
    """Return embeddings whose cosines are the shares of equal attributes."""
    values = torch.tensor([encoded(scene) for scene in scenes])
    return torch.nn.functional.one_hot(values, 10).flatten(1).float() / 2


def test_ideal_embeddings_find_every_description_and_the_nearest_scene() -> None:
    by_caption = {scene.caption: scene for scene in SCENES}
    result = evaluate(SCENES, ideal(SCENES), lambda texts: ideal([by_caption[text] for text in texts]))
    assert result.text_recall == 1
    assert result.shared_attributes == pytest.approx((4 + 4 + 3 + 3) / 4)


def test_each_distinct_description_is_asked_for_once() -> None:
    asked: list[str] = []

    def describe(texts: list[str]) -> Tensor:
        asked.extend(texts)
        return ideal([SCENES[0]] * len(texts))

    result = evaluate(SCENES, ideal(SCENES), describe)
    assert asked == list(dict.fromkeys(scene.caption for scene in SCENES))
    assert result.text_recall == pytest.approx(1 / 3)


def test_scenes_are_decided_by_their_seeds() -> None:
    (first, second), pictures = draw_scenes(range(5, 7), 64)
    again, more = draw_scenes(range(6, 7), 64)
    assert again == [second]
    assert more[0].tobytes() == pictures[1].tobytes()
    assert pictures[0].tobytes() != pictures[1].tobytes()
    assert first != second
