"""What the service asks of a model. Two implementations: `embedder.openclip`, and a fake in the tests."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from common.embedding import ModelInfo
from common.errors import ConfigurationError, EmbedderUnavailable

Pixels = NDArray[np.uint8]
"""Preprocessed images: (N, S, S, 3)."""
Vector = NDArray[np.float32]
"""L2-normalised: (D,)."""
Vectors = NDArray[np.float32]
"""L2-normalised: (N, D)."""

Kind = Literal["image", "text"]
Step = Literal["preprocess", "forward", "postprocess"]
ObserveStep = Callable[[Kind, Step, float], None]
"""Told how many seconds each step of an encode took."""


def ignore_steps(_kind: Kind, _step: Step, _seconds: float) -> None:
    """Observe nothing."""


class HubUnreachable(ConfigurationError):
    """The weights are not cached, and the hub does not answer or must not be asked; later it may be otherwise."""

    default_code = "hub_unreachable"


class ClipModel(Protocol):
    """Maps images and texts into one vector space. Blocking; called from one thread only."""

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        ...

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Embed (N, S, S, 3) uint8, N ≥ 1; row i of the answer belongs to image i, whatever else is in the batch."""
        ...

    def encode_texts(self, texts: list[str]) -> Vectors:
        """Embed texts, at least one; what is beyond the model's context length is cut off."""
        ...

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Count the tokens of each text before any are cut off; more than the context length: some are."""
        ...


def normalised(values: NDArray[Any]) -> Vectors:
    """Bring each row to length 1, in float32.

    Raises:
        EmbedderUnavailable: a row is not finite or has no direction: the model or its device is at fault.
    """
    vectors = values.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        raise EmbedderUnavailable("the model answered with values that are no vectors", code="suspect_vectors")
    return np.asarray(vectors / norms, dtype=np.float32)
