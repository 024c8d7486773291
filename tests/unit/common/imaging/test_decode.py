import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from common.errors import ImageRejected, ImageTooLarge
from common.imaging import ImageFormat, decode
from common.settings import ImagePolicy
from tests.fixtures import pictures

POLICY = ImagePolicy()
LOSSLESS = (ImageFormat.PNG, ImageFormat.TIFF, ImageFormat.BMP)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow remarks on broken metadata


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)


def decoded(image: Image.Image, format_: ImageFormat = ImageFormat.PNG, **options: Any) -> NDArray[np.int64]:
    result = decode(pictures.encode(image, format_, **options), POLICY)
    assert result.mode == "RGB"
    return pixels(result)


@pytest.mark.parametrize("format_", ImageFormat)
def test_every_format(format_: ImageFormat) -> None:
    image = decode(pictures.valid()[format_], POLICY)

    assert image.mode == "RGB"
    difference = np.abs(pixels(image) - pixels(pictures.picture()))
    assert difference.mean() < (0.001 if format_ in LOSSLESS else 6)


@pytest.mark.parametrize("format_", [ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_ordinary_images_are_exactly_what_open_clip_sees(format_: ImageFormat, mode: str) -> None:
    data = pictures.encode(pictures.picture().convert(mode), format_)

    assert decode(data, POLICY).tobytes() == Image.open(BytesIO(data)).convert("RGB").tobytes()


def test_an_embedded_rgb_profile_changes_nothing() -> None:
    image = pictures.picture()

    assert (decoded(image, icc_profile=pictures.srgb_profile()) == pixels(image)).all()


@pytest.mark.parametrize("name", pictures.hostile())
def test_hostile_files_are_refused(name: str) -> None:
    data, code = pictures.hostile()[name]

    with pytest.raises(ImageRejected) as refusal:
        decode(data, POLICY)

    assert refusal.value.code == code


@pytest.mark.parametrize("format_", ImageFormat)
def test_one_pixel(format_: ImageFormat) -> None:
    image = decode(pictures.encode(Image.new("RGB", (1, 1), (200, 200, 200)), format_), POLICY)

    assert image.size == (1, 1)
    assert np.abs(pixels(image) - 200).max() <= 3


@pytest.mark.parametrize("format_", pictures.ORIENTABLE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_come_out_upright(format_: ImageFormat, orientation: int) -> None:
    upright = pictures.picture()

    image = decode(pictures.oriented(upright, format_, orientation), POLICY)

    assert image.size == upright.size
    assert np.abs(pixels(image) - pixels(upright)).mean() < 4


def test_broken_metadata_does_not_spoil_a_picture() -> None:
    image = pictures.picture()

    assert (decoded(image, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff") == pixels(image)).all()


def test_sixteen_bit_grey_is_scaled_not_saturated() -> None:
    ramp = np.linspace(0, 65_535, 256 * 4).astype(np.uint16).reshape(4, 256)

    for format_ in (ImageFormat.PNG, ImageFormat.TIFF):
        result = decoded(Image.fromarray(ramp), format_)
        assert (result == (ramp // 256)[..., None]).all()


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-5.0, 0.0, 5.0]], dtype=np.float32),
        np.array([[0.0, 0.5, 1.0]], dtype=np.float32),
        np.array([[-100_000, 0, 100_000]], dtype=np.int32),
    ],
)
def test_values_without_a_range_are_stretched(values: NDArray[np.generic]) -> None:
    assert decoded(Image.fromarray(values), ImageFormat.TIFF)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 7.0])
def test_floats_of_any_kind_are_pixels(value: float) -> None:
    grey = np.array([[0, 1, value]], dtype=np.float32)

    assert decoded(Image.fromarray(grey), ImageFormat.TIFF).shape == (1, 3, 3)


def _palette(image: Image.Image) -> bytes:
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([0, 0, 0, 255, 0, 0])
    indexed.putpixel((1, 0), 1)
    return pictures.encode(indexed, ImageFormat.PNG, transparency=0)


def _key_colour(image: Image.Image) -> bytes:
    return pictures.encode(image.convert("RGB"), ImageFormat.PNG, transparency=(0, 0, 0))


def _alpha(image: Image.Image) -> bytes:
    return pictures.encode(image, ImageFormat.PNG)


@pytest.mark.parametrize("make", [_palette, _key_colour, _alpha])
def test_transparency_shows_a_white_page(make: Callable[[Image.Image], bytes]) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))

    assert pixels(decode(make(image), POLICY)).tolist() == [[[255, 255, 255], [255, 0, 0]]]


def test_grey_with_alpha_shows_a_white_page() -> None:
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (40, 255))

    assert decoded(image).tolist() == [[[255] * 3, [40] * 3]]


def test_grey_key_colour_shows_a_white_page() -> None:
    image = Image.new("L", (2, 1), 40)
    image.putpixel((0, 0), 7)

    assert decoded(image, transparency=7).tolist() == [[[255] * 3, [40] * 3]]


def test_sixteen_bit_key_colour_shows_a_white_page() -> None:
    image = Image.fromarray(np.array([[700, 30_000]], dtype=np.uint16))

    assert decoded(image, transparency=700).tolist() == [[[255] * 3, [117] * 3]]


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    assert np.abs(decoded(Image.new("RGBA", (1, 1), (255, 0, 0, 128))) - [255, 127, 127]).max() <= 1


def test_cmyk_goes_by_its_profile() -> None:
    """With the profile any ink is black; by the plain formula, cyan is cyan."""
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    paper = Image.new("CMYK", (8, 8), (0, 0, 0, 0))

    for format_ in (ImageFormat.JPEG, ImageFormat.TIFF):
        profile = pictures.cmyk_profile()
        assert np.abs(decoded(cyan, format_, icc_profile=profile) - 0).max() <= 3
        assert np.abs(decoded(paper, format_, icc_profile=profile) - 255).max() <= 3
        assert np.abs(decoded(cyan, format_) - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize("profile", [b"", b"no profile at all", pictures.srgb_profile()])
def test_cmyk_with_a_useless_profile_goes_by_the_plain_formula(profile: bytes) -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))

    assert np.abs(decoded(cyan, ImageFormat.TIFF, icc_profile=profile) - [0, 255, 255]).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_other_modes(mode: str) -> None:
    image = pictures.picture().convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        image = Image.merge("LAB", (image.getchannel(0), *Image.new("RGB", image.size, (0, 128, 128)).split()[1:]))

    assert decoded(image, ImageFormat.TIFF).shape == (64, 96, 3)


@pytest.mark.parametrize("format_", [ImageFormat.GIF, ImageFormat.WEBP])
def test_an_animation_is_its_first_frame(format_: ImageFormat) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]

    image = decode(pictures.animation(format_, *frames), POLICY)

    assert np.abs(pixels(image) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("frame", [(9, 17_000), (8_000, 8_000), (32_767, 32_767)])
def test_a_gif_frame_larger_than_its_screen_is_held_against_the_policy(frame: tuple[int, int]) -> None:
    data = bytearray(pictures.encode(Image.new("L", (9, 9)), ImageFormat.GIF))
    at = data.index(b",\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<2H", *frame)

    with pytest.raises(ImageTooLarge):
        decode(bytes(data), POLICY)
