"""The errors are a tree as its docstring draws it, each with a stable code."""

import re

import pytest

from common import errors
from common.errors import LikenessError, Overloaded


def family(kind: type[LikenessError]) -> list[type[LikenessError]]:
    """Return a class and all that descend from it."""
    return [kind, *(descendant for child in kind.__subclasses__() for descendant in family(child))]


FAMILY = [kind for kind in family(LikenessError) if kind.__module__ == errors.__name__]


def drawn_parents() -> dict[str, str]:
    """Read the tree in the module's docstring: the parent of each class by the class's name."""
    parents: dict[str, str] = {}
    branch: list[str] = ["LikenessError"]
    for prefix, name in re.findall(r"^([│ ]*[├└]── )([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE):
        depth = len(prefix) // 4
        branch[depth:] = [name]
        parents[name] = branch[depth - 1]
    return parents


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert drawn_parents() == {kind.__name__: kind.__mro__[1].__name__ for kind in FAMILY if kind is not LikenessError}


def test_codes_are_for_machines_and_tell_the_classes_apart() -> None:
    codes = [kind.default_code for kind in FAMILY]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_says_what_happened_and_may_have_a_code_of_its_own(kind: type[LikenessError]) -> None:
    assert str(kind("it is broken")) == "it is broken"
    assert kind("it is broken").code == kind.default_code
    assert kind("it is broken", code="quite_broken").code == "quite_broken"


def test_overload_says_when_to_try_again() -> None:
    assert Overloaded("full").retry_after == 1
    assert Overloaded("full", retry_after=7.5, code="text_queue_full").retry_after == 7.5
