from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image, ImageEnhance

from common.duplicates import DuplicateSettings
from common.imaging import ImageFormat, perceptual_hash, shrink
from tests.fixtures import pictures

DISTANCE = DuplicateSettings().near_distance


def hash_of(image: Image.Image) -> int:
    bits = perceptual_hash(shrink(image))
    assert bits is not None
    return bits


def encoded_anew(image: Image.Image, format_: ImageFormat, quality: int) -> Image.Image:
    return Image.open(BytesIO(pictures.encode(image, format_, quality=quality))).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda image: encoded_anew(image, ImageFormat.JPEG, 30),
    "webp": lambda image: encoded_anew(image, ImageFormat.WEBP, 50),
    "smaller": lambda image: image.resize((image.width // 4, image.height // 4)),
    "larger": lambda image: image.resize((image.width * 2, image.height * 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_picture_is_known_again(change: Callable[[Image.Image], Image.Image]) -> None:
    image = pictures.picture(800, 600, seed=3)
    assert (hash_of(image) ^ hash_of(change(image))).bit_count() <= DISTANCE


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180])
def test_another_picture_is_not(turn: Image.Transpose) -> None:
    image = pictures.picture(800, 600, seed=3)
    assert (hash_of(image) ^ hash_of(image.transpose(turn))).bit_count() > 2 * DISTANCE


@pytest.mark.parametrize("image", [Image.new("RGB", (1, 1)), Image.new("RGB", (300, 200), (250, 240, 10))])
def test_where_there_is_nothing_to_see_there_is_no_hash(image: Image.Image) -> None:
    assert perceptual_hash(image) is None


def test_half_of_the_bits_are_set() -> None:
    """The frequencies above the median: so two hashes differ in an even number of bits, and none is a special one."""
    assert {hash_of(pictures.picture(seed=seed)).bit_count() for seed in range(20)} == {32}
