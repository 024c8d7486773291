"""The search use cases: get a vector, ask the index, fetch the rows fresh from PostgreSQL."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from api.cursors import MAX_SEARCH_DEPTH
from common.active_model import agree_on_model
from common.db import embedding_models, embeddings, images
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.embedder_client import EmbedderClient
from common.errors import Conflict, InvalidInput
from common.status import ImageStatus
from common.vectors.base import Collection, Filter, VectorIndex


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the ranking is wanted."""

    limit: int
    offset: int = 0
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """Images with their scores, best first, and where the next page starts (None: there is none)."""

    model: EmbeddingModel
    ranked: list[tuple[float, Image]]
    next_offset: int | None

    @property
    def label(self) -> str:
        """The model that ranked them."""
        return embedding_models.label(self.model)


class Similarity:
    """Finds images by likeness; one per process."""

    def __init__(self, database: Database, vectors: VectorIndex, embedder: EmbedderClient) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder

    async def by_image(self, image_id: UUID, wanted: Filter, window: Window) -> Results:
        """Find what is like one of the owner's images, which is not among the results.

        Raises:
            NotFound: not one of the owner's images.
            Conflict: `image_not_indexed`, it has no vector yet.
        """
        async with self._database.begin() as session:
            image = await images.get(session, wanted.owner_id, image_id)
            model = await embedding_models.find_active(session)
            if image.status != ImageStatus.DONE or model is None:
                raise Conflict(f"image {image_id} is {image.status}, not indexed yet", code="image_not_indexed")
            vectors = await embeddings.find(session, model.id, [image.sha256])
        if image.sha256 not in vectors:
            raise Conflict(f"image {image_id} has no vector of the active model", code="image_not_indexed")
        return await self._search(model, vectors[image.sha256], wanted, window, exclude=[image_id])

    async def by_text(self, text: str, wanted: Filter, window: Window) -> Results:
        """Find what a sentence describes.

        Raises:
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model.
        """
        if not text.strip():
            raise InvalidInput("q is empty", code="empty_query")
        model, _ = await agree_on_model(self._database, self._embedder)
        (vector,) = await self._embedder.encode_texts([text])
        return await self._search(model, vector, wanted, window)

    async def by_picture(self, data: bytes, wanted: Filter, window: Window) -> Results:
        """Find what is like a picture that is not kept.

        Raises:
            ImageRejected: the picture can't be read.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model.
        """
        model, _ = await agree_on_model(self._database, self._embedder)
        vector = await self._embedder.encode_image(data)
        return await self._search(model, vector, wanted, window)

    async def _search(
        self,
        model: EmbeddingModel,
        vector: NDArray[np.float32],
        wanted: Filter,
        window: Window,
        exclude: list[UUID] | None = None,
    ) -> Results:
        collection = Collection(model.collection, model.dim)
        await self._vectors.ensure(collection)
        # One more than asked for tells whether there is a next page.
        limit = min(window.limit + 1, MAX_SEARCH_DEPTH - window.offset)
        matches = await self._vectors.query(
            collection,
            vector,
            filter=wanted,
            limit=limit,
            offset=window.offset,
            min_score=window.min_score,
            exclude=exclude or [],
        )
        page = matches[: window.limit]
        async with self._database.begin() as session:
            rows = await images.find_many(session, wanted.owner_id, [match.id for match in page])
        return Results(
            model=model,
            # What the index still holds of a deleted image has no row, and is not shown.
            ranked=[(match.score, rows[match.id]) for match in page if match.id in rows],
            next_offset=window.offset + window.limit if len(matches) > window.limit else None,
        )
