"""Everything a worker wants of an image's bytes, in one pass over its pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.imaging import Preprocess, SizePolicy, decode, model_pixels, perceptual_hash, shrink, thumbnail


@dataclass(frozen=True, slots=True)
class Rendered:
    """A decoded image.

    Attributes:
        pixels: for each preprocessing asked for, the model's input, uint8, shape (S, S, 3); read-only.
        thumbnail: a small WebP picture.
        width: pixels across, upright.
        height: pixels down, upright.
        perceptual_hash: 64 bits by which to know it again; None where there is too little to see.
    """

    pixels: tuple[NDArray[np.uint8], ...]
    thumbnail: bytes
    width: int
    height: int
    perceptual_hash: int | None = None


Renderer: TypeAlias = Callable[[bytes, Sequence[Preprocess], SizePolicy], Rendered]


def render(data: bytes, preprocesses: Sequence[Preprocess], policy: SizePolicy) -> Rendered:
    """Decode an image and make the models' inputs, the thumbnail and the hash of it. Raises what `decode` raises."""
    image = decode(data, policy)
    small = shrink(image)
    pixels = tuple(model_pixels(image, preprocess) for preprocess in preprocesses)
    return Rendered(pixels, thumbnail(small), *image.size, perceptual_hash(small))
