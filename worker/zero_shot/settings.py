"""Settings of the tagging and the moderation stage: `TAGGING__…` and `MODERATION__…`, read by the stages themselves."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from common.embedding import MAX_TEXT_CHARS
from common.settings import ServiceSettings
from worker.labels import MAX_LABEL_CHARS, MAX_LABELS, is_label

_MAX_CONFIGURED = 1000
_MAX_PROMPTS = 100


def _check_label(text: str) -> str:
    if not is_label(text):
        raise ValueError(f"a label is 1 to {MAX_LABEL_CHARS} printable characters")
    return text


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


Label = Annotated[str, AfterValidator(_check_label)]
Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_CHARS)]
Prompts = Annotated[list[Prompt], BeforeValidator(_as_list), Field(min_length=1, max_length=_MAX_PROMPTS)]


class ZeroShotSettings(BaseModel):
    """What to look for, and what to make of it."""

    labels: dict[Label, Prompts] = Field(default_factory=dict, max_length=_MAX_CONFIGURED)
    """As JSON, label by label a sentence that such an image could have as its caption, or several, of which the mean is
    taken: `{"shoes": ["a photo of a shoe", "a photo of a pair of shoes"]}`. Empty: the stage is off."""
    neutral: Prompts = Field(default_factory=lambda: ["a picture"])
    """Captions that would do for any image; a label has to fit better. Several compete with it, each for itself."""
    threshold: float = Field(default=0.9, gt=0, le=1)
    """The score from which on a label is kept."""
    max: int = Field(default=10, ge=1, le=MAX_LABELS)
    """Most labels of one image, the best."""
    scale: float = Field(default=100, gt=0, le=1000)
    """The model's logit scale: CLIP's training caps it at 100, and the usual models end there."""


class Settings(ServiceSettings):
    """What the two stages read."""

    tagging: ZeroShotSettings = ZeroShotSettings()
    moderation: ZeroShotSettings = ZeroShotSettings()
