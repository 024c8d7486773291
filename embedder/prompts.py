"""Prompt templates: a text is put into each, and the mean of their vectors stands for it.

CLIP's authors found that "a photo of a {}" describes pictures better than the bare word, and several such sentences
better than one: https://arxiv.org/abs/2103.00020, section 3.1.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.embedding import MAX_TEXTS, TEMPLATE_SLOT
from common.errors import InvalidInput
from common.prompts import check_templates, check_texts
from embedder.model import Vector, normalised

_AS_IT_IS = [TEMPLATE_SLOT]


class EncodedText(NamedTuple):
    """A text's vector, (D,), and how many tokens it has (the longest of its prompts)."""

    vector: Vector
    tokens: int


def fill(texts: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Put each text into each template; the prompts of one text follow each other.

    Raises:
        InvalidInput: a text is too long, a template is none, or there are too many prompts.
    """
    check_texts(texts)
    check_templates(templates)
    if len(texts) * len(templates) > MAX_TEXTS:
        raise InvalidInput(f"texts times templates may be {MAX_TEXTS} at most", code="too_many_prompts")
    return [template.replace(TEMPLATE_SLOT, text) for text in texts for template in templates or _AS_IT_IS]


def average(prompts: Sequence[EncodedText], texts: int) -> list[EncodedText]:
    """Bring the prompts of each of so many texts together: their mean, of length 1."""
    each = len(prompts) // texts
    if each == 1:
        return list(prompts)
    groups = [prompts[start : start + each] for start in range(0, len(prompts), each)]
    vectors = normalised(np.stack([np.mean([prompt.vector for prompt in group], axis=0) for group in groups]))
    return [
        EncodedText(vector, max(prompt.tokens for prompt in group))
        for vector, group in zip(vectors, groups, strict=True)
    ]
