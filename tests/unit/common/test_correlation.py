"""Correlation ids: which are taken from strangers, and under which one work for several is done."""

from collections.abc import Iterator

import pytest
import structlog

from common import correlation


@pytest.fixture(autouse=True)
def fresh_context() -> Iterator[None]:
    with structlog.contextvars.bound_contextvars():
        structlog.contextvars.clear_contextvars()
        yield
        structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("given", ["a", "A-1_b.c", "0" * 128])
def test_a_sane_id_is_taken(given: str) -> None:
    assert correlation.accept(given) == given


@pytest.mark.parametrize("given", [None, "", "0" * 129, "a b", "a\n", "ä", '"', 7, ["a"]])
def test_what_does_not_belong_in_a_log_is_not(given: object) -> None:
    assert correlation.accept(given) is None


def test_an_id_holds_inside_alone_and_is_kept_where_none_is_given() -> None:
    with correlation.bound("outer"):
        with correlation.bound("inner"):
            assert correlation.current() == "inner"
        with correlation.bound(None) as kept:
            assert kept == correlation.current() == "outer"
    assert correlation.current() is None


def test_one_is_made_where_there_is_none() -> None:
    with correlation.bound(None) as first:
        pass
    with correlation.bound(None) as second:
        assert correlation.accept(second)
    assert first != second


@pytest.mark.parametrize("ids", [["a"], ["a", "a"], [None, "a"]])
def test_work_for_one_request_has_its_id(ids: list[str | None]) -> None:
    correlation.join(ids)
    assert structlog.contextvars.get_contextvars() == {"request_id": "a"}
    assert not correlation.is_shared()


def test_work_for_several_has_an_id_of_its_own_and_names_theirs() -> None:
    correlation.join(["b", "a", "b"])
    context = structlog.contextvars.get_contextvars()
    assert context["request_ids"] == ["a", "b"]
    assert context["request_id"] not in {"a", "b"}
    assert correlation.is_shared()


def test_work_for_nobody_in_particular_has_none() -> None:
    correlation.join([None, None])
    assert structlog.contextvars.get_contextvars() == {}
