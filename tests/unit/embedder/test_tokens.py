"""Counting with tokenizers of the hub. Their library is no dependency: a stand-in, inside open_clip's own class."""

from types import SimpleNamespace
from typing import Any

import pytest
from open_clip.tokenizer import HFTokenizer

from common.errors import ConfigurationError
from embedder.tokens import create_counter


class WordTokenizer:
    """One token a word, between two marks; cuts only when told to, as the library's do."""

    def __call__(self, texts: list[str], *, add_special_tokens: bool = True, **options: Any) -> SimpleNamespace:
        assert options == {"padding": False, "truncation": False, "verbose": False}
        marks = [0] if add_special_tokens else []
        return SimpleNamespace(input_ids=[marks + [7] * len(text.split()) + marks for text in texts])


def tokenizer(mode: str) -> HFTokenizer:
    made = HFTokenizer.__new__(HFTokenizer)
    made.tokenizer = WordTokenizer()
    made.tokenizer_mode = mode
    made.clean_fn = lambda text: text.replace("-", " ")
    return made


@pytest.mark.parametrize(("mode", "frame"), [("", 2), ("clips", 3)])
def test_texts_are_cleaned_and_framed_as_for_the_model(mode: str, frame: int) -> None:
    count = create_counter(tokenizer(mode))

    assert count(["two words", "a-dash", ""]) == [2 + frame, 2 + frame, frame]


def test_a_tokenizer_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown kind: WordTokenizer"):
        create_counter(WordTokenizer())
