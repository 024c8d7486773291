"""The vectors of queries, kept at two levels: in this process those used last, in Redis what all processes share.

A model makes the same vector of the same text or picture each time, so nothing here grows stale. What is lost, or can't
be had, is made anew: without Redis searches are slower, and never wrong.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from api.lru import Lru
from api.settings import CacheSettings
from api.shared_cache import SharedCache
from common.cache_metrics import CACHE_LOOKUPS
from common.db.embedding_models import label
from common.db.models import EmbeddingModel
from common.embedding import VECTOR_DTYPE
from common.vectors.base import NORM_TOLERANCE

Vector = NDArray[np.float32]
Kind = Literal["text", "picture"]


class VectorKey(NamedTuple):
    """What a vector was made of: by which model (of `dim` numbers), from exactly which bytes.

    The model goes by name, as its row's number is another in another database. Texts that differ in nothing but case or
    blanks are different inputs: some tokenizers tell them apart.
    """

    model: str
    preprocess_version: int
    dim: int
    kind: Kind
    content: bytes
    """Of a text, all of it; of a picture, its hash."""

    @classmethod
    def of(cls, model: EmbeddingModel, kind: Kind, content: bytes) -> Self:
        """Make the key of an input."""
        return cls(label(model), model.preprocess_version, model.dim, kind, content)

    @property
    def digest(self) -> bytes:
        """The key in Redis: SHA-256 of all of it."""
        made_by = f"{self.model}\0{self.preprocess_version}\0{self.dim}\0{self.kind}\0"
        return hashlib.sha256(made_by.encode() + self.content).digest()


class VectorCache:
    """Vectors by key; those it returns are shared and can't be written to."""

    def __init__(self, settings: CacheSettings, shared: SharedCache | None) -> None:
        self._recent: Lru[VectorKey, Vector] = Lru(settings.vectors)
        self._shared = shared

    def recall(self, keys: Iterable[VectorKey]) -> dict[VectorKey, Vector]:
        """Return what this process has."""
        found = {}
        for key in keys:
            vector = self._recent.find(key)
            _count(key, "process", "miss" if vector is None else "hit")
            if vector is not None:
                found[key] = vector
        return found

    async def fetch(self, keys: Iterable[VectorKey]) -> dict[VectorKey, Vector]:
        """Return what Redis has, and remember it here; nothing while Redis is away."""
        if self._shared is None:
            return {}
        keys = list(keys)
        values = await self._shared.find([key.digest for key in keys])
        found = {}
        for key in keys:
            if values is None:
                _count(key, "redis", "unavailable")
                continue
            vector = _decode(key, values.get(key.digest))
            _count(key, "redis", "miss" if vector is None else "hit")
            if vector is not None:
                found[key] = vector
                self._recent.keep(key, vector)
        return found

    async def keep(self, vectors: Mapping[VectorKey, Vector]) -> None:
        """Keep vectors here and, if Redis is there, for all."""
        for key, vector in vectors.items():
            kept = vector.copy()  # it may be a row of many, and these need not stay
            kept.setflags(write=False)
            self._recent.keep(key, kept)
        if self._shared is not None:
            await self._shared.keep({key.digest: _encode(vector) for key, vector in vectors.items()})


def _encode(vector: Vector) -> bytes:
    return vector.astype(VECTOR_DTYPE).tobytes()


def _decode(key: VectorKey, value: bytes | None) -> Vector | None:
    """Return the vector, of shape (dim,), or None for what is none of this model."""
    if value is None or len(value) != key.dim * np.dtype(VECTOR_DTYPE).itemsize:
        return None
    vector = np.frombuffer(value, dtype=VECTOR_DTYPE)
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    return vector if abs(norm - 1) <= NORM_TOLERANCE else None  # no number is within any tolerance


def _count(key: VectorKey, level: str, outcome: str) -> None:
    CACHE_LOOKUPS.labels(key.kind, level, outcome).inc()
