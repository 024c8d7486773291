"""What the embedder answers, checked: count, length, finite, normalised, the right model.

Raises, from all that read: `AnswerUnusable`, or `EmbeddingInvalid` where one of several inputs may be the cause.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from common.embedder_address import AnswerUnusable
from common.embedding import COUNT_HEADER, DIM_HEADER, MODEL_HEADER, VECTOR_DTYPE, Encoded, ModelInfo, TextsEncoded
from common.errors import EmbeddingInvalid, UnknownModel

Vector = NDArray[np.float32]
Answer = TypeVar("Answer", bound=BaseModel)

_NORM_TOLERANCE = 1e-3


class EmbeddedText(NamedTuple):
    """A text's vector, and whether the text was too long to be read to its end."""

    vector: Vector
    truncated: bool


def parse(kind: type[Answer], response: httpx.Response) -> Answer:
    """Read an answer in JSON."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise AnswerUnusable(f"the embedder's answer is no {kind.__name__}") from error


def read_model(version: int | None, response: httpx.Response) -> ModelInfo:
    """Read which model answers; raises `UnknownModel` if it is not of this `version` of preprocessing."""
    model = parse(ModelInfo, response)
    if version not in (None, model.preprocess_version):
        raise UnknownModel(f"{model.label} is served by preprocess version {model.preprocess_version}, not {version}")
    return model


def read_image(model: ModelInfo, response: httpx.Response) -> Vector:
    """Read the vector of one encoded image."""
    answer = parse(Encoded, response)
    return _vectors([answer.embedding], model, 1, answer.model)[0]


def read_texts(model: ModelInfo, count: int, response: httpx.Response) -> list[EmbeddedText]:
    """Read the vectors of `count` texts."""
    answer = parse(TextsEncoded, response)
    vectors = _vectors(answer.embeddings, model, count, answer.model)
    if len(answer.truncated) != len(vectors):
        raise AnswerUnusable("the embedder did not say of each text whether it was cut")
    return list(map(EmbeddedText, vectors, answer.truncated))


def read_pixels(model: ModelInfo, count: int, response: httpx.Response) -> list[Vector]:
    """Read the vectors of `count` preprocessed images."""
    if response.headers.get(DIM_HEADER) != str(model.dim):
        raise AnswerUnusable(f"the embedder answered other vectors than of {model.dim} numbers")
    if response.headers.get(COUNT_HEADER) != str(count) or len(response.content) != count * model.dim * 4:
        raise EmbeddingInvalid(f"the embedder answered another number of vectors than {count}")
    values = np.frombuffer(response.content, dtype=VECTOR_DTYPE).reshape(count, model.dim)
    return _vectors(values, model, count, response.headers.get(MODEL_HEADER, ""))


def _vectors(
    values: Sequence[Sequence[float]] | NDArray[Any], model: ModelInfo, count: int, label: str
) -> list[Vector]:
    """Check an answer against what was asked for; one vector per row."""
    if label != model.label:
        raise AnswerUnusable(f"expected vectors of {model.label}, the embedder answered with {label or 'no name'}")
    if len(values) != count or any(len(row) != model.dim for row in values):
        raise EmbeddingInvalid(f"expected {count} vectors of {model.dim} numbers")
    vectors = np.asarray(values, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    if not np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):  # false for nan too
        raise EmbeddingInvalid("the embedder answered with vectors that are not normalised")
    return list(vectors)
