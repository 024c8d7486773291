"""A model without torch: small, fast, and as strict about its contract as the real ones."""

import hashlib
import threading
from collections.abc import Callable

import numpy as np

from common.embedding import ModelInfo, PreprocessInfo
from embedder.model import Pixels, Vectors, normalised

SIZE = 8
DIM = 16


class FakeClipModel:
    """Projects pixels at random (fixed seed); a text's vector is drawn from its hash.

    `batches` records what was encoded: (kind, items). After `hold()`, every encode sets `entered` and waits until
    `gate` is set. `failure`, when set, is raised instead of an answer; `distort`, when set, changes the vectors.
    """

    def __init__(self, *, dim: int = DIM, name: str = "fake") -> None:
        self._info = ModelInfo(
            name=name,
            pretrained="seed-0",
            dim=dim,
            image_size=SIZE,
            preprocess=PreprocessInfo(size=SIZE),
            preprocess_version=1,
            context_length=77,
            device="cpu",
            precision="fp32",
        )
        self._projection = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, dim))
        self.batches: list[tuple[str, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: BaseException | None = None
        self.distort: Callable[[Vectors], Vectors] | None = None

    @property
    def info(self) -> ModelInfo:
        return self._info

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (SIZE, SIZE, 3)
        values = (pixels.reshape(len(pixels), -1).astype(np.float64) - 127.3) @ self._projection
        return self._answer("image", normalised(values))

    def encode_texts(self, texts: list[str]) -> Vectors:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        values = np.stack([np.random.default_rng(seed).normal(size=self._info.dim) for seed in seeds])
        return self._answer("text", normalised(values))

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) + 2 for text in texts]

    def hold(self) -> None:
        """Forget the batches so far, and keep the next one until `gate` is set."""
        self.batches.clear()
        self.entered.clear()
        self.gate.clear()

    def _answer(self, kind: str, vectors: Vectors) -> Vectors:
        self.batches.append((kind, len(vectors)))
        self.entered.set()
        self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.distort(vectors) if self.distort else vectors
