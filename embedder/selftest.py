"""Proof, before a model serves, that it gives the vectors it should on this device.

Some accelerators and drivers give wrong vectors without any error. So fixed pictures and texts go through the model:
the vectors must be finite, normalised, and the same alone as in a batch; the demo model's must also match golden
vectors stored beside its weights.
"""

import numpy as np

from common.embedding import ModelInfo
from common.errors import ConfigurationError
from embedder.model import ClipModel, Vectors
from embedder.reference import TEXTS, References, encode_references, pictures, read_golden

SAME = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.995}
"""By precision, the least cosine of two vectors of one input: half precision rounds differently in larger batches."""
_NORM_TOLERANCE = 1e-3


class SuspectVectors(ConfigurationError):
    """The model's vectors can't be trusted."""

    default_code = "selftest_failed"


def check(model: ClipModel) -> References:
    """Warm the model up and check what it answers; blocking, on the model's thread.

    Raises:
        SuspectVectors: a check failed; the message says which.
        ConfigurationError: it is the demo model, and its golden vectors are missing.
    """
    info = model.info
    references = encode_references(model)
    _check_shape(info, references.images)
    _check_shape(info, references.texts)
    images = pictures(info.image_size)
    alone = References(
        np.concatenate([model.encode_pixels(images[i : i + 1]) for i in range(len(images))]),
        np.concatenate([model.encode_texts([text]) for text in TEXTS]),
    )
    _compare(info, references, alone, "alone")
    if info.demo:
        _compare(info, references, read_golden(info.pretrained), "among the golden vectors")
    return references


def same(vectors: Vectors, expected: Vectors, precision: str) -> bool:
    """Tell whether vectors are the expected ones, row by row, but for rounding; false for nan."""
    return bool(np.min(np.sum(vectors * expected, axis=-1)) >= SAME[precision])


def _check_shape(info: ModelInfo, vectors: Vectors) -> None:
    lengths = np.linalg.norm(vectors, axis=1)
    if vectors.shape[1] != info.dim or not np.all(np.abs(lengths - 1) < _NORM_TOLERANCE):
        raise SuspectVectors(f"{info.label}: its vectors are not {info.dim} numbers, finite and normalised")


def _compare(info: ModelInfo, vectors: References, expected: References, where: str) -> None:
    for kind, ours, theirs in (
        ("picture", vectors.images, expected.images),
        ("text", vectors.texts, expected.texts),
    ):
        if ours.shape != theirs.shape or not same(ours, theirs, info.precision):
            raise SuspectVectors(f"{info.label}: a {kind}'s vector in a batch is another than {where}")
