"""What a search is for: examples of what results should be like and unlike, and the one vector they come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.db import embedding_models
from common.db.models import EmbeddingModel
from common.errors import InvalidInput
from common.vectors.base import ROUNDING

Vector = NDArray[np.float32]

_NOTHING = 1e-6
"""A vector of less than this norm has no direction."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What results are to be like; the more, the greater its weight, and unlike it, if that is negative.

    It is a sentence, one of the owner's images, or a vector of the active model (of any length but 0).
    """

    of: str | UUID | Vector
    weight: float = 1.0


A_PICTURE: Sequence[Example] = ()
"""What a search for a picture that is not kept has for examples."""


def ids_of(examples: Sequence[Example]) -> list[UUID]:
    """Return the images among examples, each once."""
    return list(dict.fromkeys(example.of for example in examples if isinstance(example.of, UUID)))


def texts_of(examples: Sequence[Example]) -> list[str]:
    """Return the sentences among examples, each once."""
    return list(dict.fromkeys(example.of for example in examples if isinstance(example.of, str)))


def spell(examples: Sequence[Example]) -> bytes:
    """Put examples in bytes, to tell searches apart."""
    spelled = [(example.of if isinstance(example.of, str | UUID) else example.of.tolist()) for example in examples]
    return repr([(of, example.weight) for of, example in zip(spelled, examples, strict=True)]).encode()


def add_up(
    model: EmbeddingModel, examples: Sequence[Example], images: Mapping[UUID, Vector], texts: Mapping[str, Vector]
) -> Vector:
    """Return the weighted sum of the examples' vectors, normalised; shape `(dim,)`.

    Args:
        model: of which all vectors are.
        examples: at least one.
        images: the vectors of the images among them.
        texts: the vectors of the sentences among them.

    Raises:
        InvalidInput: a vector is not one of the model's, or the examples cancel each other out.
    """

    def vector_of(example: Example) -> Vector:
        match example.of:
            case UUID() as image_id:
                return images[image_id]
            case str() as text:
                return texts[text]
            case numbers:
                return _normalised(numbers, model)

    vectors = [vector_of(example) for example in examples]
    if len(examples) == 1 and examples[0].weight > 0:
        return vectors[0]  # as most searches have it
    weights = sum(abs(example.weight) for example in examples)
    total = np.zeros(model.dim)
    for example, vector in zip(examples, vectors, strict=True):
        total += example.weight / weights * vector
    norm = np.linalg.norm(total)
    if norm < ROUNDING:  # all that is left is rounding errors
        raise InvalidInput("the examples cancel each other out", code="examples_cancel_out")
    return (total / norm).astype(np.float32)


def _normalised(numbers: Vector, model: EmbeddingModel) -> Vector:
    """Return a vector of somebody else's with norm 1."""
    if numbers.shape != (model.dim,):
        detail = f"a vector of {embedding_models.label(model)} has {model.dim} numbers, not {numbers.size}"
        raise InvalidInput(detail, code="wrong_dimension")
    norm = float(np.linalg.norm(numbers.astype(np.float64)))
    if not _NOTHING < norm < np.inf:
        raise InvalidInput("a vector has no direction", code="vector_without_direction")
    return numbers / np.float32(norm)
