"""What to do with an image whose attempt failed: a pure decision."""

from dataclasses import dataclass
from datetime import timedelta

from common.errors import ImageRejected, InfrastructureError, LikenessError, Overloaded

_BASE_S = 1.0
_CAP_S = 60.0
_MAX_DOUBLINGS = 10


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
    if isinstance(error, InfrastructureError | Overloaded):
        return Retry(backoff(attempt, jitter), refund=True)
    if tries_left > 0:  # a defect of ours, which may pass
        return Retry(backoff(attempt, jitter), refund=False)
    code = error.code if isinstance(error, LikenessError) else LikenessError.default_code
    return GiveUp(code, f"{type(error).__name__} on every try; the log has the details.")


def backoff(attempt: int, jitter: float) -> timedelta:
    """Return an exponential delay, between half and all of `min(60, 2 ** (attempt - 1))` seconds."""
    full = min(_CAP_S, _BASE_S * 2 ** min(attempt - 1, _MAX_DOUBLINGS))
    return timedelta(seconds=full * (0.5 + jitter / 2))
