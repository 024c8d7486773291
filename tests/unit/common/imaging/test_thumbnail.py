from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from common.imaging import sniff, thumbnail
from tests.fixtures import pictures


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 512), (512, 256)),
        ((300, 900), (171, 512)),
        ((512, 512), (512, 512)),
        ((40, 30), (40, 30)),
        ((1, 1), (1, 1)),
        ((1, 16_384), (1, 512)),
    ],
)
def test_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert Image.open(BytesIO(thumbnail(pictures.picture(*size)))).size == expected


def test_is_a_small_webp_that_looks_like_the_picture() -> None:
    image = pictures.picture(1200, 800)

    data = thumbnail(image)

    assert sniff(data) == "webp"
    assert len(data) < 40_000
    small = np.asarray(Image.open(BytesIO(data)).convert("RGB"), dtype=float)
    expected = np.asarray(image.resize((512, 341), Image.Resampling.BOX), dtype=float)
    assert np.abs(small - expected).mean() < 4
