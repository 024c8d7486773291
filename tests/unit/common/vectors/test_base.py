"""What a collection may be called. (What vectors and windows are refused is in the contract suite.)"""

import pytest

from common.vectors.base import Collection


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a\n", "a" * 201])
def test_names_that_would_leave_their_place_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be named"):
        Collection(name, 512)


@pytest.mark.parametrize("name", ["vit-b-32-laion2b-s34b-b79k-p1", "A", "0.1_x", "a" * 200])
def test_names_of_models_are_fine(name: str) -> None:
    assert Collection(name, 512).name == name


def test_a_vector_has_numbers() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Collection("empty", 0)
