"""The judge itself: it finds what is lost, doubled or illegal, and nothing else."""

from collections.abc import Callable
from uuid import uuid4

import numpy as np
import pytest

from common.status import ImageStatus as S
from common.vectors.base import ROUNDING
from tests.faults.checker import Outcome, Stores, judge
from tests.faults.history import Event, read

RECORDED = [Event(None, S.CREATED, 0), Event(S.CREATED, S.PENDING, 0)]
FINISHED = [Event(S.PENDING, S.EMBEDDING, 1), Event(S.EMBEDDING, S.INDEXING, 1), Event(S.INDEXING, S.DONE, 1)]
VECTOR = np.array([0.6, 0.8], dtype="<f4")


def test_a_history_with_reclaims_failures_and_a_requeue_is_legal() -> None:
    walk = read(
        [
            *RECORDED,
            Event(S.PENDING, S.EMBEDDING, 1),
            Event(S.EMBEDDING, S.PENDING, 1),
            Event(S.PENDING, S.EMBEDDING, 2),
            Event(S.EMBEDDING, S.INDEXING, 2),
            Event(S.INDEXING, S.EMBEDDING, 3),
            Event(S.EMBEDDING, S.ERROR, 3),
            Event(S.ERROR, S.PENDING, 3),
            Event(S.PENDING, S.EMBEDDING, 4),
            Event(S.EMBEDDING, S.INDEXING, 4),
            Event(S.INDEXING, S.DONE, 4),
        ]
    )
    assert (walk.problems, walk.reclaims, walk.requeues, walk.finishes) == ([], 1, 1, 1)


@pytest.mark.parametrize(
    "events",
    [
        [Event(None, S.PENDING, 0)],
        [*RECORDED, Event(S.PENDING, S.INDEXING, 0)],
        [*RECORDED, Event(S.PENDING, S.EMBEDDING, 0)],
        [*RECORDED, Event(S.EMBEDDING, S.INDEXING, 1)],
        [*RECORDED, *FINISHED, Event(S.INDEXING, S.DONE, 1)],
        [*RECORDED, *FINISHED, Event(S.DONE, S.EMBEDDING, 2)],
        [*RECORDED, FINISHED[0], Event(S.EMBEDDING, S.INDEXING, 2)],
    ],
    ids=[
        "born stored",
        "a step skipped",
        "no fence",
        "a claim skipped",
        "done twice",
        "claimed when done",
        "another fence",
    ],
)
def test_an_illegal_history_is_found(events: list[Event]) -> None:
    assert len(read(events).problems) == 1


ID = str(uuid4())


def whole() -> Stores:
    """What the stores hold of one image that is `done`."""
    row: dict[str, object] = {
        "status": "done",
        "error_code": None,
        "tries_left": 4,
        "sha256": "aa",
        "folder_id": 1,
        "category": None,
        "tags": [],
    }
    return Stores(
        rows={ID: row},
        histories={ID: [*RECORDED, *FINISHED]},
        embeddings={"aa": VECTOR.tobytes()},
        points={ID: {"vector": VECTOR.tolist(), "payload": {"tags": []}}},
    )


def test_what_is_whole_is_clean() -> None:
    assert judge(whole(), [ID], {}, []).clean


def test_what_an_index_rounds_is_clean() -> None:
    stores = whole()
    stores.points[ID].update(vector=(VECTOR + 0.9 * ROUNDING).tolist())
    assert judge(stores, [ID], {}, []).clean


def _edit(**values: object) -> Callable[[Stores], object]:
    return lambda stores: stores.rows[ID].update(values)


LOST: dict[str, Callable[[Stores], object]] = {
    "no row": lambda stores: (stores.rows.popitem(), stores.points.popitem()),
    "in error": _edit(status="error", error_code="poison_suspected"),
    "not settled": _edit(status="pending"),
    "no point": lambda stores: stores.points.clear(),
    "another vector": lambda stores: stores.points[ID].update(vector=[0.8, 0.6]),
    "barely another vector": lambda stores: stores.points[ID].update(vector=(VECTOR + 2 * ROUNDING).tolist()),
    "no vector kept": lambda stores: stores.embeddings.clear(),
    "an edit": _edit(category="shoes"),
}
DOUBLED: dict[str, Callable[[Stores], object]] = {
    "a point too many": lambda stores: stores.points.update({"other": stores.points[ID]}),
    "a row too many": lambda stores: stores.rows.update({"other": stores.rows[ID] | {"status": "pending"}}),
    "finished twice": lambda stores: stores.histories[ID].append(FINISHED[-1]),
}


@pytest.mark.parametrize("spoil", LOST.values(), ids=LOST.keys())
def test_what_is_lost_is_found(spoil: Callable[[Stores], object]) -> None:
    assert found(spoil).lost


@pytest.mark.parametrize("spoil", DOUBLED.values(), ids=DOUBLED.keys())
def test_what_is_doubled_is_found(spoil: Callable[[Stores], object]) -> None:
    assert found(spoil).doubled


def test_a_try_that_no_death_explains_is_found() -> None:
    assert found(_edit(tries_left=3)).illegal
    assert found(_edit(tries_left=5)).illegal


def test_what_is_left_of_a_deleted_image_is_found() -> None:
    assert judge(whole(), [], {}, [ID]).doubled


def test_an_error_must_be_the_expected_one() -> None:
    stores = whole()
    _edit(status="error", error_code="image_corrupt")(stores)
    stores.points.clear()
    assert judge(stores, [ID], {ID: "image_corrupt"}, []).clean
    assert judge(stores, [ID], {ID: "image_too_large"}, []).lost


def found(spoil: Callable[[Stores], object]) -> Outcome:
    stores = whole()
    spoil(stores)
    return judge(stores, [ID], {}, [])
