import numpy as np
import pytest
from PIL import Image

from common.imaging import Preprocess, model_pixels
from tests.fixtures import pictures


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(1, 1), (7, 900), (900, 7), (224, 224), (640, 480)])
def test_shape_and_type(mode: str, size: tuple[int, int]) -> None:
    pixels = model_pixels(pictures.picture(*size), Preprocess(224, resize_mode=mode))  # type: ignore[arg-type]

    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("size", [(1, 16_384), (16_384, 1)])
@pytest.mark.parametrize("mode", ["shortest", "longest"])
def test_a_ribbon_takes_no_gigabytes(size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    resize = Image.Image.resize

    def spy(image: Image.Image, size: tuple[int, int], *args: object, **options: object) -> Image.Image:
        made.append(size[0] * size[1])
        return resize(image, size, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", spy)
    model_pixels(Image.new("RGB", size, "teal"), Preprocess(224, resize_mode=mode))  # type: ignore[arg-type]

    assert made
    assert max(made) < 20_000_000


def test_a_very_long_ribbon_is_cut_where_a_shorter_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pictures.picture(40, 900)
    expected = model_pixels(image, Preprocess(64))

    monkeypatch.setattr("common.imaging.resize._MAX_RESIZED_PIXELS", 1)
    pixels = model_pixels(image, Preprocess(64))

    difference = np.abs(pixels.astype(int) - expected)
    assert difference.mean() < 0.5
    assert np.abs(pixels[1:].astype(int) - expected[:-1]).mean() > 1  # one row off would show


def test_longest_pads_with_the_fill_colour() -> None:
    pixels = model_pixels(Image.new("RGB", (100, 50), "white"), Preprocess(64, resize_mode="longest", fill_color=9))

    assert (pixels[:16] == 9).all()
    assert (pixels[16:48] == 255).all()
    assert (pixels[48:] == 9).all()


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"fill_color": 256}, {"resize_mode": "stretch"}, {"interpolation": "nearest"}]
)
def test_wishes_are_validated(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"size|unknown"):
        Preprocess(**{"size": 224, **wrong})  # type: ignore[arg-type]


def test_only_rgb() -> None:
    with pytest.raises(ValueError, match="RGB"):
        model_pixels(Image.new("L", (9, 9)), Preprocess(8))
