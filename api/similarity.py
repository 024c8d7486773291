"""The search use cases: get a vector, ask the index, fetch the rows fresh from PostgreSQL."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray

from api.model_choice import Choice, choose, stale_cursor
from api.paging import Seen, Window, next_page
from common.active_model import agree_on_model
from common.db import embedding_models, embeddings, images
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.embedder_client import EmbedderClient, ModelClient
from common.errors import ConfigurationError, Conflict, InfrastructureError, InvalidInput, NotFound, UnknownModel
from common.status import ImageStatus
from common.vectors.base import Collection, Filter, Match, VectorIndex

log = structlog.get_logger(__name__)

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
    """Images with their scores, best first, and where the next page goes on (None: there is none).

    `trial`: the model that ranked them is not the active one.
    """

    model: EmbeddingModel
    ranked: list[tuple[float, Image]]
    seen: Seen | None
    trial: bool = False

    @property
    def label(self) -> str:
        """The model that ranked them."""
        return embedding_models.label(self.model)


class Similarity:
    """Finds images by likeness; one per process."""

    def __init__(
        self, database: Database, vectors: VectorIndex, embedder: EmbedderClient, *, trial_share: float = 0
    ) -> None:
        """Create it; a model on trial, if there is one, answers `trial_share` of the searches."""
        self._trial_share = trial_share
        self._database = database
        self._vectors = vectors
        self._embedder = embedder

    async def by_examples(self, examples: Sequence[Example], wanted: Filter, window: Window) -> Results:
        """Find what is like some things and unlike others; images among the examples are not among the results.

        The query is the weighted sum of the examples' vectors, normalised: the directions of CLIP's space add up, so
        an image and a sentence give what looks like the one and shows the other.

        Raises:
            NotFound: an example is not one of the owner's images.
            Conflict: `image_not_indexed`, an example has no vector yet; `nothing_indexed`, there is no model yet.
            InvalidInput: a text is empty, a vector is not one of the model's, or the examples cancel each other out.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model; only texts need it.
        """
        if not all(text.strip() for text in _texts(examples)):
            raise InvalidInput("a text is empty", code="empty_query")
        live = await self._live(agreed=bool(_texts(examples)))
        if not live:
            await self._vectors_of_images(wanted.owner_id, None, _ids(examples))
            raise Conflict("nothing is indexed yet", code="nothing_indexed")
        # A vector is of the active model: another one's can't be compared with it.
        share = 0 if any(isinstance(example.of, np.ndarray) for example in examples) else self._trial_share
        query = b"".join(map(_spell, examples))
        return await self._answer(
            choose(live, wanted.owner_id, query, share=share, going_on=window.model_id),
            lambda choice: self._by_examples(choice, examples, wanted, window),
        )

    async def by_picture(self, data: bytes, wanted: Filter, window: Window) -> Results:
        """Find what is like a picture that is not kept.

        Raises:
            ImageRejected: the picture can't be read.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model.
        """
        live = await self._live(agreed=True)

        async def search(choice: Choice) -> Results:
            encoder = await self._encoder(choice.model)
            return await self._search(choice, await encoder.encode_image(data), wanted, window)

        share, going_on = self._trial_share, window.model_id
        return await self._answer(choose(live, wanted.owner_id, data, share=share, going_on=going_on), search)

    async def _answer(self, choices: Sequence[Choice], search: Callable[[Choice], Awaitable[Results]]) -> Results:
        """Search with the first model that can; no search fails for one on trial."""
        *trials, last = choices
        for choice in trials:
            try:
                return await search(choice)
            except (InfrastructureError, ConfigurationError, Conflict) as error:
                model = embedding_models.label(choice.model)
                log.warning("trial_failed", model=model, code=error.code, error=str(error))
        try:
            return await search(last)
        except UnknownModel as error:
            if last.model.state != "active":
                raise stale_cursor() from error
            raise

    async def _by_examples(
        self, choice: Choice, examples: Sequence[Example], wanted: Filter, window: Window
    ) -> Results:
        model, ids, texts = choice.model, _ids(examples), _texts(examples)
        shown = await self._vectors_of_images(wanted.owner_id, model, ids)
        said = dict(zip(texts, await (await self._encoder(model)).encode_texts(texts), strict=True)) if texts else {}
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
        return await self._search(choice, (vector / norm).astype(np.float32), wanted, window, exclude=ids)

    async def _live(self, *, agreed: bool) -> list[EmbeddingModel]:
        """Return the live models; where there is none yet and `agreed`, the embedder's becomes the active one."""
        async with self._database.begin() as session:
            live = await embedding_models.list_live(session)
        return live or ([(await agree_on_model(self._database, self._embedder))[0]] if agreed else [])

    async def _encoder(self, model: EmbeddingModel) -> ModelClient:
        """Return the embedder's client of this model, and of no other that has its name."""
        encoder = self._embedder.serving(embedding_models.label(model))
        if not embedding_models.is_served_as(model, await encoder.model()):
            name = embedding_models.label(model)
            raise ConfigurationError(f"the embedder serves another version of {name}", code="wrong_model")
        return encoder

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
        choice: Choice,
        vector: Vector,
        wanted: Filter,
        window: Window,
        exclude: Sequence[UUID] = (),
    ) -> Results:
        model = choice.model
        collection = Collection(model.collection, model.dim)
        await self._vectors.ensure(collection)

        async def query(limit: int) -> list[Match]:
            return await self._vectors.query(
                collection, vector, filter=wanted, limit=limit, min_score=window.min_score, exclude=exclude
            )

        page, more = await next_page(query, window)
        async with self._database.begin() as session:
            rows = await images.find_many(session, wanted.owner_id, [match.id for match in page])
        shown = window.seen.count if window.seen else 0
        return Results(
            model=model,
            # What the index still holds of a deleted image has no row, and is not shown.
            ranked=[(match.score, rows[match.id]) for match in page if match.id in rows],
            seen=Seen(shown + len(page), page[-1].score, page[-1].id, model.id) if more else None,
            trial=choice.trial,
        )


def _ids(examples: Sequence[Example]) -> list[UUID]:
    return list(dict.fromkeys(example.of for example in examples if isinstance(example.of, UUID)))


def _texts(examples: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(example.of for example in examples if isinstance(example.of, str)))


def _spell(example: Example) -> bytes:
    """Put an example in bytes, to tell searches apart."""
    of = example.of if isinstance(example.of, str | UUID) else example.of.tolist()
    return repr((of, example.weight)).encode()


def _normalised(numbers: Vector, model: EmbeddingModel) -> Vector:
    """Return a vector of somebody else's with norm 1."""
    if numbers.shape != (model.dim,):
        detail = f"a vector of {embedding_models.label(model)} has {model.dim} numbers, not {numbers.size}"
        raise InvalidInput(detail, code="wrong_dimension")
    norm = float(np.linalg.norm(numbers.astype(np.float64)))
    if not _NOTHING < norm < np.inf:
        raise InvalidInput("a vector has no direction", code="vector_without_direction")
    return numbers / np.float32(norm)
