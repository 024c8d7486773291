"""The verdict of the soak: what counts as growing."""

from pathlib import Path

import pytest
from PIL import Image

from tests.soak.memory import draw, grown, is_flat

MIB = 2**20


@pytest.mark.parametrize(
    ("curve", "flat"),
    [
        pytest.param([200] * 30, True, id="constant"),
        pytest.param([*range(100, 200, 10), *[200] * 20], True, id="warm-up"),
        pytest.param([200, 260] * 15, True, id="saw"),
        pytest.param([*[200] * 14, 900, *[200] * 15], True, id="one peak"),
        pytest.param(list(range(200, 500, 10)), False, id="leak"),
        pytest.param([*[200] * 20, *[240] * 10], False, id="step"),
    ],
)
def test_flat_means_no_growth_after_the_warm_up(curve: list[int], flat: bool) -> None:
    assert is_flat([value * MIB for value in curve]) is flat


def test_growth_is_the_last_third_above_the_second() -> None:
    assert grown([0, 0, 0, 5, 6, 7, 10, 11, 12]) == 5


def test_the_curve_becomes_a_picture(tmp_path: Path) -> None:
    curves = {"api": [100 * MIB] * 9, "embedder": [200 * MIB] * 9}
    draw(curves, [10.0 * step for step in range(9)], tmp_path / "soak.png")
    with Image.open(tmp_path / "soak.png") as picture:
        assert picture.width > picture.height > 300
