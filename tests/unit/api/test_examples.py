"""What examples come to: their sum by weights, of which only the proportions count."""

import numpy as np
import pytest

from api.examples import Example, add_up
from common.errors import InvalidInput
from common.vectors.base import ROUNDING
from tests.fakes.moves import create_model

MODEL = create_model(1)
ONE, OTHER = np.eye(MODEL.dim, dtype=np.float32)[:2]
TEXTS = {"one": ONE, "other": OTHER, "one, rounded": ONE + np.float32(ROUNDING / 2) * OTHER}


@pytest.mark.parametrize("scale", [5e-324, 1e-160, 1e-7, 1, 100])
def test_only_the_proportions_of_weights_count(scale: float) -> None:
    examples = [Example("one", 3 * scale), Example("other", -4 * scale)]
    np.testing.assert_allclose(add_up(MODEL, examples, {}, TEXTS), 0.6 * ONE - 0.8 * OTHER, atol=1e-6)


@pytest.mark.parametrize("scale", [5e-324, 1e-7, 1, 100])
def test_what_leaves_nothing_but_rounding_errors_cancels_out(scale: float) -> None:
    with pytest.raises(InvalidInput, match="cancel each other out"):
        add_up(MODEL, [Example("one", scale), Example("one, rounded", -scale)], {}, TEXTS)
