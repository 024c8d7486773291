"""Batches of drawn scenes for the training, drawn ahead in worker processes."""

from collections.abc import Iterator
from dataclasses import astuple
from random import Random
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from embedder.demo.scenes import ATTRIBUTES, Scene, captions, draw_scene, random_scene
from embedder.demo.vocabulary import BACKGROUNDS, COLOURS, COUNTS, SHAPES

# A seed names a batch or a picture for good; the ranges keep what is learnt from what is measured.
TRAINING_SEEDS: Final = range(1_000_000)
VALIDATION_SEEDS: Final = range(1_000_000, 2_000_000)

_VALUES: Final = (COLOURS, SHAPES, COUNTS, BACKGROUNDS)
_WHOLE_SHARE: Final = 0.65  # of the captions tell the whole scene, the others a part of it
_SCALES: Final = (1, 1, 1, 2)  # drawn size over the model's: real pictures come scaled down


class Batch(NamedTuple):
    """N pictures, each with one caption of its own."""

    pixels: Tensor
    """uint8 (N, 3, S, S)."""
    texts: list[str]
    attributes: Tensor
    """int64 (N, 4): which value each attribute of the scene has."""
    named: Tensor
    """bool (N, 4): whether the caption tells that attribute."""


class SceneBatches(Dataset[Batch]):
    """One batch for each seed, the same whichever process draws it."""

    def __init__(self, seeds: range, batch_size: int, image_size: int) -> None:
        self._seeds = seeds
        self._batch_size = batch_size
        self._image_size = image_size

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index: int) -> Batch:
        rng = Random(self._seeds[index])  # noqa: S311 - pictures, not secrets
        pixels, texts, attributes, named = [], [], [], []
        for _ in range(self._batch_size):
            scene = random_scene(rng)
            whole, part = captions(scene, rng)
            caption = whole if rng.random() < _WHOLE_SHARE else part
            pixels.append(self._draw(scene, rng))
            texts.append(caption.text)
            attributes.append(encoded(scene))
            named.append([attribute in caption.names for attribute in ATTRIBUTES])
        stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        return Batch(stacked, texts, torch.tensor(attributes), torch.tensor(named))

    def _draw(self, scene: Scene, rng: Random) -> NDArray[np.uint8]:
        image = draw_scene(scene, rng, self._image_size * rng.choice(_SCALES))
        return np.asarray(image.resize((self._image_size, self._image_size), Image.Resampling.BICUBIC))


def encoded(scene: Scene) -> list[int]:
    """Return the scene's attributes as four numbers, equal where the attributes are."""
    return [values.index(value) for values, value in zip(_VALUES, astuple(scene), strict=True)]


def drawn_ahead(batches: SceneBatches, workers: int) -> Iterator[Batch]:
    """Yield the batches in order while worker processes draw the next ones."""
    return iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=4))
