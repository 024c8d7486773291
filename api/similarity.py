"""The search use cases: get a vector, ask the index, fetch the rows fresh from PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from api.candidates import Candidates
from api.good_matches import good_score, require_good
from api.paging import Seen, Window, next_page
from api.query_vectors import QueryVectors
from api.reordering import Reordering
from api.settings import CacheSettings
from common.active_model import agree_on_model
from common.db import embedding_models, embeddings, images
from common.db.calibration import thresholds_of
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.embedder_client import EmbedderClient
from common.errors import Conflict, InvalidInput, NotFound
from common.status import ImageStatus, Visibility
from common.vectors.base import Collection, Filter, Match, VectorIndex

Vector = NDArray[np.float32]

_NOTHING = 1e-6
"""Below this norm a sum of unit vectors has no direction left but that of rounding errors."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What results are to be like; the more, the greater its weight, and unlike it, if that is negative.

    It is a sentence, one of the owner's images, or a vector of the active model (of any length but 0).
    """

    of: str | UUID | Vector
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Results:
    """Images with their scores, best first, and where the next page goes on (None: there is none)."""

    model: EmbeddingModel
    ranked: list[tuple[float, Image]]
    seen: Seen | None
    no_good_match: bool
    """Whether nothing is like the query, by the model's thresholds; known on the first page."""

    @property
    def label(self) -> str:
        """The model that ranked them."""
        return embedding_models.label(self.model)


class Similarity:
    """Finds images by likeness; one per process."""

    def __init__(
        self,
        database: Database,
        vectors: VectorIndex,
        embedder: EmbedderClient,
        query_vectors: QueryVectors,
        cache: CacheSettings,
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder
        self._query_vectors = query_vectors
        self._query = Candidates(vectors, cache).query if cache.candidates_s else vectors.query

    async def by_examples(self, examples: Sequence[Example], wanted: Filter, window: Window) -> Results:
        """Find what is like some things and unlike others; images among the examples are not among the results.

        The query is the weighted sum of the examples' vectors, normalised: the directions of CLIP's space add up, so
        an image and a sentence give what looks like the one and shows the other.

        Raises:
            NotFound: an example is not one of the owner's images.
            Conflict: `image_not_indexed`, an example has no vector yet; `nothing_indexed`, there is no model yet.
            InvalidInput: a text is empty, a vector is not one of the model's, or the examples cancel each other out.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model; only texts need it,
                and those not that are in the cache.
        """
        ids = list(dict.fromkeys(example.of for example in examples if isinstance(example.of, UUID)))
        texts = list(dict.fromkeys(example.of for example in examples if isinstance(example.of, str)))
        if not all(text.strip() for text in texts):
            raise InvalidInput("a text is empty", code="empty_query")
        model = await self._find_model() if not texts else await self._settle_model()
        shown = await self._vectors_of_images(wanted.owner_id, model, ids)
        if model is None:
            raise Conflict("nothing is indexed yet", code="nothing_indexed")
        said = await self._query_vectors.of_texts(model, texts)
        vector = np.zeros(model.dim)
        for example in examples:
            match example.of:
                case UUID() as image_id:
                    vector += example.weight * shown[image_id]
                case str() as text:
                    vector += example.weight * said[text]
                case numbers:
                    vector += example.weight * _normalised(numbers, model)
        norm = np.linalg.norm(vector)
        if norm < _NOTHING:
            raise InvalidInput("the examples cancel each other out", code="examples_cancel_out")
        query = (vector / norm).astype(np.float32)
        weights = [(type(example.of), example.weight) for example in examples]
        return await self._search(model, query, weights, wanted, window, exclude=ids)

    async def by_picture(self, data: bytes, sha256: str, wanted: Filter, window: Window) -> Results:
        """Find what is like a picture that is not kept; `sha256` is its hash.

        Raises:
            ImageRejected: the picture can't be read.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model.
        """
        model = await self._settle_model()
        vector = await self._query_vectors.of_picture(model, data, sha256)
        return await self._search(model, vector, [(bytes, 1.0)], wanted, window)

    async def _find_model(self) -> EmbeddingModel | None:
        async with self._database.begin() as session:
            return await embedding_models.find_active(session)

    async def _settle_model(self) -> EmbeddingModel:
        """Return the active model; where there is none yet, the embedder's becomes it."""
        return await self._find_model() or (await agree_on_model(self._database, self._embedder))[0]

    async def _vectors_of_images(
        self, owner_id: UUID, model: EmbeddingModel | None, ids: Sequence[UUID]
    ) -> dict[UUID, Vector]:
        if not ids:
            return {}
        async with self._database.begin() as session:
            rows = await images.find_many(session, owner_id, ids)
            hashes = [row.sha256 for row in rows.values() if row.status == ImageStatus.DONE]
            vectors = await embeddings.find(session, model.id, hashes) if model else {}
        for id_ in ids:
            if id_ not in rows:
                raise NotFound(f"there is no image {id_}", code="image_not_found")
            if rows[id_].sha256 not in vectors:
                raise Conflict(f"image {id_} is {rows[id_].status}, it has no vector yet", code="image_not_indexed")
        return {id_: vectors[rows[id_].sha256] for id_ in ids}

    async def _search(
        self,
        model: EmbeddingModel,
        vector: Vector,
        weights: Sequence[tuple[type, float]],
        wanted: Filter,
        window: Window,
        exclude: Sequence[UUID] = (),
    ) -> Results:
        thresholds = thresholds_of(model)
        good = good_score(weights, thresholds)
        if window.good_only:
            least = require_good(good, thresholds)
            window = replace(window, min_score=max(least, window.min_score or least))
        collection = Collection(model.collection, model.dim)
        await self._vectors.ensure(collection)

        async def query(limit: int) -> list[Match]:
            return await self._query(
                collection, vector, filter=wanted, limit=limit, min_score=window.min_score, exclude=exclude
            )

        if window.ranking.plain:
            page, seen = await next_page(query, window)
        else:
            page, seen = await Reordering(self._database, model, wanted.owner_id).next_page(query, window)
        async with self._database.begin() as session:
            rows = await images.find_many(session, wanted.owner_id, [match.id for match in page])
        return Results(
            model=model,
            # What the index still holds of an image that was deleted, or hidden just now, is not shown.
            ranked=[(match.score, rows[match.id]) for match in page if _may_show(rows.get(match.id), wanted)],
            seen=seen,
            no_good_match=window.seen is None and not _any_good(page, good),
        )


def _may_show(row: Image | None, wanted: Filter) -> bool:
    return row is not None and (wanted.include_hidden or row.visibility != Visibility.HIDDEN)


def _any_good(matches: Sequence[Match], good: float | None) -> bool:
    """Tell whether there is a good match; as long as nobody knows what that is, any is."""
    return any(good is None or match.score >= good for match in matches)


def _normalised(numbers: Vector, model: EmbeddingModel) -> Vector:
    """Return a vector of somebody else's with norm 1."""
    if numbers.shape != (model.dim,):
        detail = f"a vector of {embedding_models.label(model)} has {model.dim} numbers, not {numbers.size}"
        raise InvalidInput(detail, code="wrong_dimension")
    norm = float(np.linalg.norm(numbers.astype(np.float64)))
    if not _NOTHING < norm < np.inf:
        raise InvalidInput("a vector has no direction", code="vector_without_direction")
    return numbers / np.float32(norm)
