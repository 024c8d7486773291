"""`model_pixels` is open_clip's own preprocessing, byte for byte."""

from functools import cache
from io import BytesIO
from typing import Literal

import numpy as np
import pytest
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import Normalize, ToTensor

from common.imaging import ImageFormat, Preprocess, decode, model_pixels
from common.settings import ImagePolicy
from tests.fixtures import pictures

SIZES = [
    *((1, 1), (3, 2), (63, 64), (64, 64), (65, 64), (100, 64), (64, 101), (223, 225), (224, 224)),
    *((400, 530), (533, 400), (640, 427), (1021, 767), (1600, 1200), (997, 31), (13, 1201), (2500, 40)),
]

picture = cache(pictures.picture)  # drawing them takes longer than all that is done with them


@pytest.mark.parametrize("target", [64, 224, 225])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_equal_to_open_clip(
    resize_mode: Literal["shortest", "longest", "squash"], interpolation: Literal["bicubic", "bilinear"], target: int
) -> None:
    transform = image_transform(
        target, is_train=False, resize_mode=resize_mode, interpolation=interpolation, fill_color=114
    )
    geometry = [step for step in transform.transforms if not isinstance(step, ToTensor | Normalize)]
    for size in SIZES:
        image = picture(*size)
        expected = image
        if resize_mode == "longest" and min(size) * target < max(size) / 2:
            continue  # open_clip asks for a side of 0 pixels there, and fails
        for step in geometry:
            expected = step(expected)

        pixels = model_pixels(image, Preprocess(target, resize_mode, interpolation, fill_color=114))

        assert np.array_equal(pixels, np.asarray(expected)), size


def test_equal_from_the_bytes_on() -> None:
    transform = image_transform(224, is_train=False)
    for format_ in (ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP):
        data = pictures.encode(pictures.picture(530, 400), format_)
        tensor = transform(Image.open(BytesIO(data)))

        pixels = model_pixels(decode(data, ImagePolicy()), Preprocess(224))

        normalised = transform.transforms[-1](ToTensor()(pixels))
        assert np.array_equal(normalised.numpy(), tensor.numpy())
