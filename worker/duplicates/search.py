"""What some images look like, among all of their owner's: candidates by vector and by perceptual hash, then compared.

A pair is judged by the two vectors and hashes themselves, which PostgreSQL has, however it was come by. So it is judged
alike from both sides, and by whichever worker.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from common.db import embeddings, fingerprints
from common.db.engine import Database
from common.db.likenesses import Pair
from common.db.models import EmbeddingModel, Image
from common.duplicates import DuplicateThresholds, Tier
from common.vectors.base import ROUNDING, Collection, Filter, VectorIndex

CANDIDATES = 64
"""Images that are nearest by vector, and as many that are by hash, which an image is compared with."""
MOST_SIMILAR = 20
"""Most similar images that are remembered of one image; near ones are all remembered."""

_LONGEST_PAUSE_S = 0.1
"""An answer that takes longer is a server's, which does not hold up this process."""
_MAX_COPIES = 1000

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of contents, by the SHA-256 of their bytes."""

    vectors: Mapping[str, Vector]
    hashes: Mapping[str, int | None]

    def compare(self, one: str, other: str, thresholds: DuplicateThresholds) -> Pair | None:
        """Return the pair if it is one; without both vectors, nothing can be said."""
        if one not in self.vectors or other not in self.vectors:
            return None
        score = float(self.vectors[one].astype(np.float64) @ self.vectors[other].astype(np.float64))
        mine, theirs = self.hashes.get(one), self.hashes.get(other)
        distance = None if mine is None or theirs is None else (mine ^ theirs).bit_count()
        tier = thresholds.tier(distance, score)
        return Pair(one, other, tier, distance, score) if tier else None


class DuplicateSearch:
    """Finds what images look like."""

    def __init__(self, database: Database, vectors: VectorIndex) -> None:
        self._database = database
        self._vectors = vectors

    async def find_pairs(
        self, owner_id: UUID, images: Sequence[Image], model: EmbeddingModel, thresholds: DuplicateThresholds
    ) -> list[Pair]:
        """Return what the contents of some of an owner's images look like.

        Raises:
            InfrastructureError: a store can't be asked.
        """
        wanted = list(dict.fromkeys(image.sha256 for image in images))
        known = await self._load(model, wanted)
        candidates = await self._find_candidates(owner_id, known, wanted, model, thresholds)
        others = {other for found in candidates.values() for other in found} - set(wanted)
        also = await self._load(model, sorted(others))
        known = _Known({**known.vectors, **also.vectors}, {**known.hashes, **also.hashes})
        pairs: list[Pair] = []
        for one in wanted:
            compared = [known.compare(one, other, thresholds) for other in sorted(candidates[one] - {one})]
            pairs += _best([pair for pair in compared if pair is not None])
        return pairs

    async def _load(self, model: EmbeddingModel, hashes: Sequence[str]) -> _Known:
        async with self._database.begin() as session:
            vectors = await embeddings.find(session, model.id, hashes)
            fit = {sha256: vector for sha256, vector in vectors.items() if _is_fit(vector, model.dim)}
            return _Known(fit, await fingerprints.find(session, hashes))

    async def _find_candidates(
        self,
        owner_id: UUID,
        known: _Known,
        wanted: Sequence[str],
        model: EmbeddingModel,
        thresholds: DuplicateThresholds,
    ) -> dict[str, set[str]]:
        collection = Collection(model.collection, model.dim)
        await self._vectors.ensure(collection)
        alike = await self._find_by_hash(owner_id, known.hashes, wanted, thresholds)
        copies = await self._find_copies(owner_id, wanted)

        nearest: dict[str, list[UUID]] = {}
        for sha256, vector in known.vectors.items():
            started = time.perf_counter()
            matches = await self._vectors.query(
                collection,
                vector,
                filter=Filter(owner_id, include_hidden=True),
                limit=CANDIDATES,
                min_score=thresholds.least_score - ROUNDING,  # `compare` has the exact scores
                exclude=copies.get(sha256, ()),
            )
            # Half of the time is for people's searches: an index in this process lets nothing go on meanwhile.
            await asyncio.sleep(min(time.perf_counter() - started, _LONGEST_PAUSE_S))
            nearest[sha256] = [match.id for match in matches]
        contents = await self._find_contents(owner_id, {id_ for ids in nearest.values() for id_ in ids})
        return {
            sha256: alike[sha256] | {contents[id_] for id_ in nearest.get(sha256, ()) if id_ in contents}
            for sha256 in wanted
        }

    async def _find_by_hash(
        self, owner_id: UUID, hashes: Mapping[str, int | None], wanted: Sequence[str], thresholds: DuplicateThresholds
    ) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {sha256: set() for sha256 in wanted}
        async with self._database.begin() as session:
            for sha256 in wanted:
                if (bits := hashes.get(sha256)) is not None:
                    found[sha256] = set(
                        await fingerprints.find_like(
                            session, owner_id, bits, distance=thresholds.near_distance, limit=CANDIDATES
                        )
                    )
        return found

    async def _find_copies(self, owner_id: UUID, hashes: Sequence[str]) -> dict[str, list[UUID]]:
        """Return the images that have these bytes; they would only take the places of others."""
        query = select(Image.sha256, Image.id).where(Image.owner_id == owner_id, Image.sha256.in_(hashes))
        copies: dict[str, list[UUID]] = {}
        async with self._database.begin() as session:
            for row in await session.execute(query.limit(_MAX_COPIES)):
                copies.setdefault(row.sha256, []).append(row.id)
        return copies

    async def _find_contents(self, owner_id: UUID, ids: Iterable[UUID]) -> dict[UUID, str]:
        query = select(Image.id, Image.sha256).where(Image.owner_id == owner_id, Image.id.in_(list(ids)))
        async with self._database.begin() as session:
            return {row.id: row.sha256 for row in await session.execute(query)}


def _best(pairs: Sequence[Pair]) -> list[Pair]:
    """Return all near pairs, and of the similar ones the most similar."""
    near = [pair for pair in pairs if pair.tier is Tier.NEAR]
    similar = sorted((pair for pair in pairs if pair.tier is Tier.SIMILAR), key=lambda pair: (-pair.score, pair.other))
    return near + similar[:MOST_SIMILAR]


def _is_fit(vector: Vector, dim: int) -> bool:
    """A cached vector that is spoilt is the audit's business; the index would refuse it."""
    return vector.shape == (dim,) and abs(float(np.linalg.norm(vector.astype(np.float64))) - 1) < 1e-3
