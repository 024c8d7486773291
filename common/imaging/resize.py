"""An RGB image made into a model's input, byte for byte as open_clip does it, without torch.

Source: `open_clip.transform.image_transform(is_train=False)` of open_clip 3.3 up to, not including, `ToTensor`, and
the torchvision functions it calls on PIL images (`resize`, `center_crop`). `tests/integration/test_open_clip_pixels.py`
compares the two.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PREPROCESS_VERSION = 1
"""Raise it whenever the same bytes may give other pixels: a change in `decode`, in `model_pixels`, or in a codec or
resampler they use that shows in the golden tests. Vectors of different versions must not meet in one collection."""

ResizeMode: TypeAlias = Literal["shortest", "longest", "squash"]
Interpolation: TypeAlias = Literal["bicubic", "bilinear"]

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# A ribbon of 1 x 16,000 pixels, its short side made 224, would be 3.6 million pixels long before the crop.
_MAX_RESIZED_PIXELS = 16_000_000


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a model wants its images.

    Attributes:
        size: side S of the square input, in pixels.
        resize_mode: `shortest` scales the short side to S and crops the middle, `longest` scales the long side to S
            and pads, `squash` ignores the aspect ratio.
        interpolation: the resampling filter.
        fill_color: grey of the padding, 0-255.
    """

    size: int
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.fill_color <= 255:
            raise ValueError(f"size must be at least 1 and fill_color 0-255: {self}")
        if self.resize_mode not in get_args(ResizeMode) or self.interpolation not in _RESAMPLING:
            raise ValueError(f"unknown resize_mode or interpolation: {self}")


def model_pixels(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize and crop or pad an RGB image to the model's input: uint8, shape (S, S, 3), not yet normalised."""
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB image, as `decode` returns, not {image.mode}")
    size = preprocess.size
    resample = _RESAMPLING[preprocess.interpolation]
    match preprocess.resize_mode:
        case "squash":
            square = image.resize((size, size), resample)
        case "longest":
            square = _pad(image.resize(_longest(image.size, size), resample), size, preprocess.fill_color)
        case "shortest":
            square = _resize_and_crop(image, size, resample)
    return np.array(square, dtype=np.uint8)


def _shortest(source: tuple[int, int], size: int) -> tuple[int, int]:
    """The size after the short side became `size`; the long one is cut off, not rounded, as torchvision does."""
    width, height = source
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def _longest(source: tuple[int, int], size: int) -> tuple[int, int]:
    width, height = source
    ratio = max(width / size, height / size)
    # open_clip would ask for a side of 0 pixels, and fail, where a ribbon is thinner than one.
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def _resize_and_crop(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    width, height = _shortest(image.size, size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if width * height <= _MAX_RESIZED_PIXELS:
        return image.resize((width, height), resample).crop((left, top, left + size, top + size))
    # The same square, resampled straight from its part of the source: equal but for rounding, and at hard edges.
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    return image.resize((size, size), resample, box=box)


def _pad(image: Image.Image, size: int, fill_color: int) -> Image.Image:
    square = Image.new("RGB", (size, size), (fill_color,) * 3)
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square
