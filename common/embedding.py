"""The embedder's wire contract: what its HTTP interface takes and answers. A leaf: imports nothing of ours.

Pixels travel raw: uint8 of shape (N, S, S, 3), C order, in one `application/octet-stream` body, `COUNT_HEADER` saying
N and `SIZE_HEADER` saying S; the answer is float32 of shape (N, D), little-endian. Everything else is JSON. Vectors are
L2-normalised. Every answer with vectors names the model that made them, so that two models' vectors never mix.

An embedder may serve several models. `MODEL_PARAMETER` in a call's query says which is meant, by its label; without it,
the default one. Vectors of one model don't mix either if images were preprocessed in different ways: whoever names a
`VERSION_PARAMETER` is answered by that version, or not at all.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

MODEL_PARAMETER = "model"
"""Query parameter: `ModelInfo.label` of the model that is to answer; by default the default model."""
VERSION_PARAMETER = "preprocess_version"
"""Query parameter: `ModelInfo.preprocess_version` that the model is to be of; by default any."""
COUNT_HEADER = "X-Likeness-Count"
"""Images in a pixels request, vectors in its answer."""
SIZE_HEADER = "X-Likeness-Image-Size"
"""Side S of the images in a pixels request; must be the model's `image_size`."""
DIM_HEADER = "X-Likeness-Dim"
"""Length D of the vectors in a pixels answer."""
MODEL_HEADER = "X-Likeness-Model"
"""`ModelInfo.label` of the model that answered a pixels request."""
TIMEOUT_HEADER = "X-Likeness-Timeout-Ms"
"""Milliseconds for which the caller will wait; work still queued by then is dropped."""

PRIORITY_HEADER = "X-Likeness-Priority"
"""A `Priority`; without it, one image or texts are interactive, pixels and batches are bulk."""

PIXELS_MEDIA_TYPE = "application/octet-stream"
VECTOR_DTYPE = "<f4"

MAX_IMAGES = 64
"""Most images of one pixels or batch request."""
MAX_TEXTS = 64
"""Most texts of one request."""
MAX_TEXT_CHARS = 2_000
"""Most characters of one text. (Models read far fewer tokens; what is beyond is cut off.)"""
TEMPLATE_SLOT = "{}"
"""Where a prompt template takes the text."""
MAX_TEMPLATE_CHARS = 200
"""Most characters of one prompt template."""


class Priority(StrEnum):
    """Who goes first when not everybody can."""

    INTERACTIVE = "interactive"
    """Somebody waits for it: a search. Overtakes bulk work, all but a fifth of it."""
    BULK = "bulk"
    """Work that is as good a minute later: images that are being indexed."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class PreprocessInfo(_Wire):
    """How an image becomes S by S pixels; the fields of `common.imaging.Preprocess`."""

    size: int = Field(ge=1)
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill_color: int = Field(default=0, ge=0, le=255)


class ModelInfo(_Wire):
    """Which model the embedder runs. Mean and standard deviation stay inside the embedder."""

    name: str
    pretrained: str
    """A stable identity of the weights: a tag, or file name and short hash of a local checkpoint; never a path."""
    dim: int = Field(ge=1)
    image_size: int = Field(ge=1)
    preprocess: PreprocessInfo
    preprocess_version: int
    context_length: int = Field(ge=1)
    device: str
    precision: str
    demo: bool = False

    @property
    def label(self) -> str:
        """The model's identity in one word: vectors with different labels can't be compared."""
        return f"{self.name}/{self.pretrained}"


class Models(_Wire):
    """Answer of `GET /models`: what is served, and which model answers those who name none."""

    default: str
    models: list[ModelInfo] = Field(min_length=1)


class Encoded(_Wire):
    """Answer of `POST /encode`."""

    embedding: list[float]
    model: str
    dim: int


class ItemError(_Wire):
    """What is wrong with one item of a batch."""

    code: str
    detail: str


class BatchItem(_Wire):
    """One file of a batch: its vector, or what is wrong with it."""

    filename: str | None = None
    embedding: list[float] | None = None
    error: ItemError | None = None


class BatchEncoded(_Wire):
    """Answer of `POST /encode/batch`: one result per file, in the order of the request."""

    results: list[BatchItem]
    model: str
    dim: int


class TextsRequest(_Wire):
    """Body of `POST /encode/text`."""

    texts: list[str] = Field(min_length=1, max_length=MAX_TEXTS)
    templates: list[str] = Field(default=[], max_length=MAX_TEXTS)
    """Sentences with one `{}`, such as `a photo of a {}`: each text is put into each, and gets the mean of their
    vectors, normalised. Texts times templates may be `MAX_TEXTS`. Without any, a text is taken as it is."""


class TextsEncoded(_Wire):
    """Answer of `POST /encode/text`: one vector per text, in order."""

    embeddings: list[list[float]]
    truncated: list[bool]
    """Whether a text, or one of its prompts, is longer than the model's context, so that its end was not read."""
    model: str
    dim: int


class Readiness(_Wire):
    """Answer of `GET /ready`.

    `draining`: it is about to stop, and still serves. `unreachable` is what the client says when there was no usable
    answer.
    """

    status: Literal["ready", "starting", "failed", "draining", "unreachable"]
    detail: str
    model: ModelInfo | None = None

    @computed_field  # type: ignore[prop-decorator] # as pydantic's documentation has it
    @property
    def ready(self) -> bool:
        """Whether requests are served, as in every service's answer."""
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether requests are served."""
        return self.status == "ready"
