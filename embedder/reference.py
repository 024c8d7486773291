"""Fixed inputs, what a model answers to them, and the demo model's answers kept beside its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from common.errors import ConfigurationError
from embedder.model import ClipModel, Pixels, Vectors

TEXTS: Final = ["a red circle on a blue background", "two dogs in the snow"]
GOLDEN: Final = Path(__file__).with_name("models") / "likeness-demo.golden.json"

_DECIMALS = 6


@dataclass(frozen=True)
class References:
    """A model's vectors (N, D) of `pictures` and (M, D) of `TEXTS`, each in one batch."""

    images: Vectors
    texts: Vectors


def pictures(size: int) -> Pixels:
    """Make four fixed pictures of side `size` by arithmetic alone: (4, S, S, 3)."""
    row, column = np.mgrid[0:size, 0:size].astype(np.float64) / size
    board = ((row * 8).astype(int) + (column * 8).astype(int)) % 2
    ring = np.exp(-(((row - 0.5) ** 2 + (column - 0.5) ** 2 - 0.08) ** 2) / 0.001)
    layers = [
        (row, column, 1 - row),
        (board, board, board),
        (ring, np.full_like(ring, 0.2), 1 - ring),
        (row * column, (row + column) / 2, np.abs(row - column)),
    ]
    return np.round(np.stack([np.stack(layer, axis=-1) for layer in layers]) * 255).astype(np.uint8)


def encode_references(model: ClipModel) -> References:
    """Encode the fixed inputs; blocking, on the model's thread."""
    return References(model.encode_pixels(pictures(model.info.image_size)), model.encode_texts(TEXTS))


def read_golden(identity: str) -> References:
    """Read the golden vectors of the weights called `identity`.

    Raises:
        ConfigurationError: there are none, or they were made from other weights.
    """
    remedy = "run `python -m embedder.golden --write`"
    try:
        stored = json.loads(GOLDEN.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(f"the demo model has no golden vectors; {remedy}") from error
    if stored["weights"] != identity:
        raise ConfigurationError(f"the golden vectors are of {stored['weights']}, the weights are {identity}; {remedy}")
    return References(np.asarray(stored["images"], dtype=np.float32), np.asarray(stored["texts"], dtype=np.float32))


def write_golden(identity: str, vectors: References) -> None:
    """Keep `vectors` as the golden ones of the weights called `identity`; readers see the old file or the new one."""
    rows = {"images": vectors.images, "texts": vectors.texts}
    stored = {"weights": identity} | {
        kind: [[round(float(x), _DECIMALS) for x in row] for row in values] for kind, values in rows.items()
    }
    partial = GOLDEN.with_name(f".{GOLDEN.name}.partial")
    partial.write_text(json.dumps(stored) + "\n")
    partial.replace(GOLDEN)
