"""How many tokens a text has, by the model's own tokenizer, before what is beyond the model's context is cut off."""

from collections.abc import Callable
from functools import partial
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from common.errors import ConfigurationError

CountTokens = Callable[[list[str]], list[int]]
"""The marks that frame each text are counted: they have their place in the context."""

_FRAME = 2  # start and end
_CLIPS_FRAME = 3  # and a class token


def create_counter(tokenizer: Any) -> CountTokens:
    """Make the counter that belongs to one of open_clip's tokenizers: a text is cut if it has more than the context.

    Raises:
        ConfigurationError: open_clip has a kind of tokenizer that this version does not know.
    """
    if isinstance(tokenizer, SimpleTokenizer):
        return lambda texts: [len(tokenizer.encode(text)) + _FRAME for text in texts]
    if isinstance(tokenizer, HFTokenizer):
        return partial(_count_with_hf, tokenizer)
    raise ConfigurationError(f"the model's tokenizer is of an unknown kind: {type(tokenizer).__name__}")


def _count_with_hf(tokenizer: Any, texts: list[str]) -> list[int]:
    framed = tokenizer.tokenizer_mode != "clips"  # that mode has marks of its own
    ids = tokenizer.tokenizer(
        [tokenizer.clean_fn(text) for text in texts],
        add_special_tokens=framed,
        padding=False,
        truncation=False,
        verbose=False,  # it would warn that the text is long, which is what is asked
    ).input_ids
    return [len(each) + (0 if framed else _CLIPS_FRAME) for each in ids]
