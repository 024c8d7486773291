"""Which score makes a good match, by the thresholds that were measured for the model."""

from collections.abc import Sequence

from api.examples import Example
from common.calibration import ScoreThresholds
from common.errors import Conflict, InvalidInput


def good_score(examples: Sequence[Example], thresholds: ScoreThresholds | None) -> float | None:
    """Return the least score of a good match, or None where nobody knows.

    Args:
        examples: of the query; none at all stands for a picture.
        thresholds: of the model, None if it was never calibrated. They are of pairs, a sentence and an image or two
            images; for a mixture of both, and for "unlike that", nothing was measured.
    """
    texts = {isinstance(example.of, str) for example in examples}
    if thresholds is None or len(texts) > 1 or any(example.weight < 0 for example in examples):
        return None
    return thresholds.text_match if texts == {True} else thresholds.similar


def require_good(good: float | None, thresholds: ScoreThresholds | None) -> float:
    """Return the least score of a good match for a query that wants no others.

    Raises:
        Conflict: `not_calibrated`.
        InvalidInput: `no_threshold`, the query is a mixture.
    """
    if thresholds is None:
        raise Conflict("nobody has measured what a good match is: `likeness calibrate` does", code="not_calibrated")
    if good is None:
        raise InvalidInput("good matches are known for texts alone and for images alone", code="no_threshold")
    return good
