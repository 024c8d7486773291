"""Which remedy is chosen: the cheapest that helps, and none where it would make things worse."""

from itertools import chain, combinations

import pytest

from worker.audit.repair import Remedy, choose_remedy
from worker.audit.report import Mismatch

OF_IMAGES = [
    Mismatch.OBJECT_MISSING,
    Mismatch.OBJECT_WRONG_SIZE,
    Mismatch.THUMBNAIL_MISSING,
    Mismatch.EMBEDDING_MISSING,
    Mismatch.VECTOR_MISSING,
    Mismatch.VECTOR_WRONG,
    Mismatch.PAYLOAD_STALE,
]
EVERY_COMBINATION = [
    frozenset(some) for some in chain.from_iterable(combinations(OF_IMAGES, size) for size in range(1, 8))
]
BAD_ORIGINAL = {Mismatch.OBJECT_MISSING, Mismatch.OBJECT_WRONG_SIZE}


@pytest.mark.parametrize(
    ("problems", "remedy"),
    [
        ({Mismatch.OBJECT_MISSING}, None),
        ({Mismatch.OBJECT_WRONG_SIZE}, None),
        ({Mismatch.THUMBNAIL_MISSING}, Remedy.REDO),
        ({Mismatch.EMBEDDING_MISSING}, Remedy.REDO),
        ({Mismatch.VECTOR_MISSING}, Remedy.RESTORE),
        ({Mismatch.VECTOR_WRONG}, Remedy.RESTORE),
        ({Mismatch.VECTOR_WRONG, Mismatch.PAYLOAD_STALE}, Remedy.RESTORE),
        ({Mismatch.VECTOR_WRONG, Mismatch.THUMBNAIL_MISSING}, Remedy.REDO),
        ({Mismatch.VECTOR_WRONG, Mismatch.OBJECT_MISSING}, Remedy.RESTORE),
        ({Mismatch.PAYLOAD_STALE}, Remedy.SYNC),
        ({Mismatch.VECTOR_MISSING, Mismatch.EMBEDDING_MISSING}, Remedy.REDO),
        ({Mismatch.VECTOR_MISSING, Mismatch.THUMBNAIL_MISSING}, Remedy.REDO),
        ({Mismatch.VECTOR_MISSING, Mismatch.OBJECT_MISSING}, Remedy.RESTORE),
        ({Mismatch.VECTOR_MISSING, Mismatch.THUMBNAIL_MISSING, Mismatch.OBJECT_MISSING}, Remedy.RESTORE),
        ({Mismatch.VECTOR_MISSING, Mismatch.EMBEDDING_MISSING, Mismatch.OBJECT_MISSING}, None),
        ({Mismatch.PAYLOAD_STALE, Mismatch.OBJECT_MISSING}, Remedy.SYNC),
        ({Mismatch.PAYLOAD_STALE, Mismatch.THUMBNAIL_MISSING}, Remedy.REDO),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_each_has_its_remedy(problems: set[Mismatch], remedy: Remedy | None) -> None:
    assert choose_remedy(frozenset(problems)) is remedy


def test_without_a_good_original_nothing_is_given_to_the_pipeline() -> None:
    for problems in EVERY_COMBINATION:
        if problems & BAD_ORIGINAL:
            assert choose_remedy(problems) is not Remedy.REDO


def test_a_remedy_mends_something_and_everything_that_can_be_mended_is() -> None:
    for problems in EVERY_COMBINATION:
        remedy = choose_remedy(problems)
        if remedy is not None:
            assert remedy.value & problems
        elif not problems & BAD_ORIGINAL:
            pytest.fail(f"nothing is done about {sorted(problems)}")
