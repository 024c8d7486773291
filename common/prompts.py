"""Which texts and prompt templates the embedder takes: its client refuses the same ones."""

from collections.abc import Sequence

from common.embedding import MAX_TEMPLATE_CHARS, MAX_TEXT_CHARS, MAX_TEXTS, TEMPLATE_SLOT
from common.errors import InvalidInput


def check_texts(texts: Sequence[str]) -> None:
    """Raise `InvalidInput` (`text_too_long`) unless all may be embedded."""
    if any(len(text) > MAX_TEXT_CHARS for text in texts):
        raise InvalidInput(f"a text may have at most {MAX_TEXT_CHARS} characters", code="text_too_long")


def check_templates(templates: Sequence[str]) -> None:
    """Raise `InvalidInput` (`invalid_template`, `too_many_prompts`) unless a text may be put into all of them."""
    if len(templates) > MAX_TEXTS:
        raise InvalidInput(f"there may be {MAX_TEXTS} templates at most", code="too_many_prompts")
    for template in templates:
        if template.count(TEMPLATE_SLOT) != 1 or len(template) > MAX_TEMPLATE_CHARS:
            raise InvalidInput(
                f"a template has one {TEMPLATE_SLOT} for the text, and at most {MAX_TEMPLATE_CHARS} characters",
                code="invalid_template",
            )
