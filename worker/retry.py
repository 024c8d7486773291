"""What to do with an image whose attempt failed: a pure decision."""

from dataclasses import dataclass
from datetime import timedelta

from common.db.models import TRIES
from common.errors import DownloadFailed, ImageRejected, InfrastructureError, LikenessError, Overloaded

_BASE_S = 1.0
_CAP_S = 60.0
_MAX_DOUBLINGS = 10

_ALONE_AFTER = 2
"""Tries spent, which is workers died (or defects of ours), before an image may harm no neighbour any more."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay`; `refund`: the failure was not the image's, and costs it no try."""

    delay: timedelta
    refund: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """→ `error`."""

    code: str
    message: str


def decide_retry(error: BaseException, *, attempt: int, tries_left: int, jitter: float) -> Retry | GiveUp:
    """Decide by the class of the failure (architecture, section 3).

    Args:
        error: what the attempt raised.
        attempt: number of the failed attempt, from 1.
        tries_left: tries that remain after this one.
        jitter: in [0, 1); spreads the retries of many images that failed together.
    """
    if isinstance(error, ImageRejected):
        return GiveUp(error.code, str(error))
    if isinstance(error, Overloaded):
        return Retry(max(backoff(attempt, jitter), _not_before(error, jitter)), refund=True)
    if isinstance(error, InfrastructureError):
        return Retry(backoff(attempt, jitter), refund=True)
    if tries_left > 0:  # a defect of ours, or somebody else's server: either may pass
        return Retry(backoff(attempt, jitter), refund=False)
    if isinstance(error, DownloadFailed):
        return GiveUp(error.code, str(error))
    code = error.code if isinstance(error, LikenessError) else LikenessError.default_code
    return GiveUp(code, f"{type(error).__name__} on every try; the log has the details.")


def must_run_alone(tries_left: int) -> bool:
    """Tell whether an image has spent so many tries that nothing else may be in flight while it runs.

    Whoever dies has no time to say of which of its images. So all of them have spent a try, and the innocent ones are
    told apart by what they do alone.

    Args:
        tries_left: tries that remain after the one just claimed.
    """
    return TRIES - 1 - tries_left >= _ALONE_AFTER


def backoff(attempt: int, jitter: float) -> timedelta:
    """Return an exponential delay, between half and all of `min(60, 2 ** (attempt - 1))` seconds."""
    full = min(_CAP_S, _BASE_S * 2 ** min(attempt - 1, _MAX_DOUBLINGS))
    return timedelta(seconds=full * (0.5 + jitter / 2))


def _not_before(error: Overloaded, jitter: float) -> timedelta:
    """What an overloaded service asked for, and up to half as long on top: or all would come back at once."""
    return timedelta(seconds=error.retry_after * (1 + jitter / 2))
