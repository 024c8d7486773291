"""What becomes of an image whose attempt failed, by the class of the failure."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.db.models import TRIES
from common.errors import (
    DownloadFailed,
    EmbedderUnavailable,
    EmbeddingInvalid,
    ImageTooLarge,
    ImageUnreadable,
    InfrastructureError,
    InvalidInput,
    ObjectCorrupt,
    ObjectNotFound,
    Overloaded,
    UnsupportedMedia,
    UrlRefused,
    VectorIndexRefused,
    VectorIndexUnavailable,
)
from worker.retry import GiveUp, Retry, backoff, decide_retry, must_run_alone

OUTAGES = [
    InfrastructureError,
    EmbedderUnavailable,
    EmbeddingInvalid,
    VectorIndexUnavailable,
    VectorIndexRefused,
    ObjectNotFound,
    ObjectCorrupt,
]


@pytest.mark.parametrize("tries_left", [0, 1, 4])
@pytest.mark.parametrize("kind", [ImageUnreadable, ImageTooLarge, UnsupportedMedia])
def test_a_bad_image_is_given_up_at_once(kind: type[ImageUnreadable], tries_left: int) -> None:
    error = kind("half of it is missing", code="image_truncated")
    verdict = decide_retry(error, attempt=1, tries_left=tries_left, jitter=0)
    assert verdict == GiveUp("image_truncated", "half of it is missing")


@pytest.mark.parametrize("attempt", [1, 2, 50, 5000])
@pytest.mark.parametrize("tries_left", [0, 4])
@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_never_the_images_fault(kind: type[InfrastructureError], tries_left: int, attempt: int) -> None:
    verdict = decide_retry(kind("away"), attempt=attempt, tries_left=tries_left, jitter=0.5)
    assert verdict == Retry(backoff(attempt, 0.5), refund=True)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("bug"), InvalidInput("bug")])
def test_a_defect_of_ours_costs_a_try(error: Exception) -> None:
    assert decide_retry(error, attempt=2, tries_left=1, jitter=0) == Retry(backoff(2, 0), refund=False)


def test_somebody_elses_server_costs_a_try_and_the_last_one_says_what_it_met() -> None:
    error = DownloadFailed("the server answered 503")
    assert decide_retry(error, attempt=2, tries_left=1, jitter=0) == Retry(backoff(2, 0), refund=False)
    given_up = GiveUp("download_failed", "the server answered 503")
    assert decide_retry(error, attempt=5, tries_left=0, jitter=0) == given_up


@pytest.mark.parametrize("tries_left", [0, 4])
def test_a_refused_url_is_final(tries_left: int) -> None:
    verdict = decide_retry(UrlRefused("not public"), attempt=1, tries_left=tries_left, jitter=0)
    assert verdict == GiveUp("url_refused", "not public")


def test_a_defect_on_the_last_try_is_an_error_that_gives_nothing_away() -> None:
    verdict = decide_retry(KeyError("password=hunter2"), attempt=5, tries_left=0, jitter=0)
    assert isinstance(verdict, GiveUp)
    assert verdict.code == "internal_error"
    assert "hunter2" not in verdict.message
    assert decide_retry(InvalidInput("bug", code="odd"), attempt=5, tries_left=0, jitter=0) == GiveUp(
        "odd", "InvalidInput on every try; the log has the details."
    )


@pytest.mark.parametrize(
    ("attempt", "retry_after", "jitter", "seconds"),
    [(1, 7, 0, 7), (1, 7, 0.5, 8.75), (1, 0, 0.5, 0.75), (20, 7, 0.5, 45)],
    ids=["the hint", "the hint, spread", "no hint", "longer than the hint"],
)
def test_an_overloaded_service_is_left_alone_for_as_long_as_it_asks(
    attempt: int, retry_after: float, jitter: float, seconds: float
) -> None:
    error = Overloaded("full", retry_after=retry_after)
    verdict = decide_retry(error, attempt=attempt, tries_left=0, jitter=jitter)
    assert verdict == Retry(timedelta(seconds=seconds), refund=True)


def test_two_spent_tries_are_too_many_for_company() -> None:
    alone = [must_run_alone(tries_left) for tries_left in reversed(range(TRIES))]
    assert alone == [False, False, True, True, True]


JITTERS = st.floats(0, 1, exclude_max=True)


@settings(derandomize=True)
@given(attempt=st.integers(1, 1_000_000), jitter=JITTERS)
def test_the_delay_is_between_half_and_all_of_a_bounded_power_of_two(attempt: int, jitter: float) -> None:
    full = timedelta(seconds=min(60, 2 ** min(attempt - 1, 20)))
    assert full / 2 <= backoff(attempt, jitter) <= full


@settings(derandomize=True)
@given(attempt=st.integers(1, 100), one=JITTERS, other=JITTERS)
def test_jitter_spreads_retries(attempt: int, one: float, other: float) -> None:
    if abs(one - other) > 0.001:
        assert backoff(attempt, one) != backoff(attempt, other)
    assert backoff(attempt + 1, one) >= backoff(attempt, one)
