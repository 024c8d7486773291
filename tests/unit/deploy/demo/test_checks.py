from uuid import UUID

import pytest

from common.api_client import Hits, ImageState
from common.status import ImageStatus
from deploy.local.demo.checks import check_search, check_settled, check_similar

QUERY = "a red circle on a blue background"
OTHER = "a blue circle on a red background"


def hits(*titles: str) -> Hits:
    results = [
        {"score": 0.5, "image": {"id": UUID(int=number), "title": title, "filename": "a.jpg"}}
        for number, title in enumerate(titles)
    ]
    return Hits.model_validate({"model": "m", "results": results})


def states(*statuses: str) -> dict[UUID, ImageState]:
    found: dict[UUID, ImageState] = {}
    for number, status in enumerate(statuses):
        error = {"code": "image_corrupt", "detail": "…"} if status == ImageStatus.ERROR else None
        state = ImageState.model_validate({"id": UUID(int=number), "status": status, "error": error})
        found[state.id] = state
    return found


@pytest.mark.parametrize(
    ("existing", "right", "works"),
    [(6, 5, True), (6, 4, True), (6, 3, False), (3, 3, True), (3, 2, True), (3, 1, False)],
)
def test_the_demo_model_must_find_nearly_all(existing: int, right: int, works: bool) -> None:
    found = hits(*[QUERY] * right, *[OTHER] * (5 - right))
    assert (check_search(QUERY, found, existing=existing, demo_model=True) == []) is works


def test_only_the_first_results_count() -> None:
    found = hits(*[OTHER] * 5, *[QUERY] * 5)
    assert check_search(QUERY, found, existing=6, demo_model=True) != []


def test_another_model_must_find_something() -> None:
    assert check_search(QUERY, hits(OTHER), existing=6, demo_model=False) == []
    assert check_search(QUERY, hits(), existing=6, demo_model=False) != []


def test_every_picture_must_be_done() -> None:
    assert check_settled(states("done", "done"), 2) == []
    assert "image_corrupt" in check_settled(states("done", "error"), 2)[0]
    assert "gone" in check_settled(states("done"), 2)[0]


def test_an_image_is_not_similar_to_itself() -> None:
    assert check_similar(UUID(int=7), hits(QUERY)) == []
    assert check_similar(UUID(int=0), hits(QUERY)) != []
    assert check_similar(UUID(int=7), hits()) != []
