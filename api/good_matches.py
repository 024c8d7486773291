"""Which score makes a good match, by the thresholds that were measured for the model."""

from collections.abc import Collection

from common.calibration import Thresholds
from common.errors import Conflict, InvalidInput


def good_score(weights: Collection[tuple[type, float]], thresholds: Thresholds | None) -> float | None:
    """Return the least score of a good match, or None where nobody knows.

    Args:
        weights: for each example of the query whether it is a text (`str`) or something else, and its weight.
        thresholds: of the model, None if it was never calibrated. They are of pairs, a sentence and an image or two
            images; for a mixture of both, and for "unlike that", nothing was measured.
    """
    kinds = {kind is str for kind, _ in weights}
    if thresholds is None or len(kinds) != 1 or any(weight < 0 for _, weight in weights):
        return None
    return thresholds.text_match if kinds == {True} else thresholds.similar


def require_good(threshold: float | None, thresholds: Thresholds | None) -> float:
    """Return the least score of a good match for a query that wants no others.

    Raises:
        Conflict: `not_calibrated`.
        InvalidInput: `no_threshold`, the query is a mixture.
    """
    if thresholds is None:
        raise Conflict("nobody has measured what a good match is: `likeness calibrate` does", code="not_calibrated")
    if threshold is None:
        raise InvalidInput("good matches are known for texts alone and for images alone", code="no_threshold")
    return threshold
