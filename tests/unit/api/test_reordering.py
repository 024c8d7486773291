"""Where a page in another order begins."""

from datetime import UTC, datetime
from uuid import UUID

import numpy as np

from api.paging import Seen
from api.ranking import Candidate
from api.reordering import _start

ORDERED = [Candidate(UUID(int=n), 0.5, datetime(2026, 1, 1, tzinfo=UTC), np.zeros(2, np.float32)) for n in (7, 3, 9, 4)]


def test_the_first_page_begins_at_the_beginning() -> None:
    assert _start(ORDERED, None) == 0


def test_a_page_begins_after_the_last_that_was_shown_wherever_it_is_now() -> None:
    assert _start(ORDERED, Seen(2, 0.5, UUID(int=3), 1)) == 2
    assert _start(ORDERED, Seen(1, 0.5, UUID(int=9), 1)) == 3


def test_where_that_is_deleted_nothing_is_left_out() -> None:
    """Shown were 7, 3 and one that is gone: 9 comes next."""
    assert _start(ORDERED, Seen(3, 0.5, UUID(int=1), 1)) == 2
