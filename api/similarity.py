"""The search use cases: get a vector, ask the index, fetch the rows fresh from PostgreSQL."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog

from api.candidates import Candidates
from api.examples import A_PICTURE, Example, Vector, add_up, ids_of, spell, texts_of
from api.good_matches import good_score, require_good
from api.live_models import RememberedModels, collection_of
from api.model_choice import Choice, choose, stale_cursor
from api.paging import Page, Seen, Window, next_page
from api.query_vectors import QueryVectors
from api.reordering import Reordering
from api.settings import CacheSettings
from common.db import embedding_models, reads
from common.db.calibration import thresholds_of
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.db.reads import ShownImage, StoredVector
from common.embedder_client import EmbedderClient
from common.errors import (
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    InfrastructureError,
    InvalidInput,
    LikenessError,
    NotFound,
    UnknownModel,
)
from common.status import ImageStatus, Visibility
from common.vectors.base import Filter, Match, VectorIndex

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Results:
    """Images with their scores, best first, and where the next page goes on (None: there is none)."""

    model: EmbeddingModel
    ranked: list[tuple[float, ShownImage]]
    seen: Seen | None
    no_good_match: bool = False
    """Whether nothing is like the query, by the model's thresholds; known on the first page."""
    trial: bool = False
    """Whether the model is not the active one yet."""

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
        *,
        trial_share: float = 0,
    ) -> None:
        """Create it; a model on trial, if there is one, answers `trial_share` of the searches."""
        self._database = database
        self._vectors = vectors
        self._models = RememberedModels(database, vectors, embedder)
        self._query_vectors = query_vectors
        self._query = Candidates(vectors, cache).query if cache.candidates_s else vectors.query
        self._trial_share = trial_share

    async def by_examples(self, examples: Sequence[Example], wanted: Filter, window: Window) -> Results:
        """Find what is like some things and unlike others; images among the examples are not among the results.

        The query is the weighted sum of the examples' vectors, normalised: the directions of CLIP's space add up, so
        an image and a sentence give what looks like the one and shows the other.

        Raises:
            NotFound: an example is not one of the owner's images.
            Conflict: `image_not_indexed`, an example has no vector yet; `nothing_indexed`, there is no model yet;
                `not_calibrated`.
            InvalidInput: a text is empty, a vector is not one of the model's, the examples cancel each other out, the
                cursor's model is gone, or nobody knows what a good match is.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model; only texts need it,
                and those not that are in the cache.
        """
        ids, texts = ids_of(examples), texts_of(examples)
        if not all(text.strip() for text in texts):
            raise InvalidInput("a text is empty", code="empty_query")
        # A vector is of the active model: another one's can't be compared with it.
        share = 0 if _any_vector(examples) else self._trial_share
        going_on = window.seen.model_id if window.seen else None

        async def by(choice: Choice) -> tuple[Results, str]:
            shown = await self._vectors_of(choice.model, wanted.owner_id, ids) if ids else {}
            said = await self._query_vectors.of_texts(choice.model, texts) if texts else {}
            vector = add_up(choice.model, examples, shown, said)
            return await self._search(choice, vector, examples, wanted, window)

        async def search(live: Sequence[EmbeddingModel]) -> tuple[Results, str]:
            try:
                if not live:
                    raise Conflict("nothing is indexed yet", code="nothing_indexed")
                asked = partial(spell, examples)
                return await self._answer(choose(live, wanted.owner_id, asked, share=share, going_on=going_on), by)
            except DatabaseUnavailable:
                raise
            except LikenessError:
                # Somebody else's image is no image, whatever else is wrong: or that would tell something of it.
                await self._require_searchable(wanted.owner_id, ids)
                raise

        return await self._models.answer(search, settle=bool(texts))

    async def by_picture(self, data: bytes, sha256: str, wanted: Filter, window: Window) -> Results:
        """Find what is like a picture that is not kept; `sha256` is its hash.

        Raises:
            ImageRejected: the picture can't be read.
            Conflict, InvalidInput: `not_calibrated`; the cursor's model is gone.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model.
        """
        going_on = window.seen.model_id if window.seen else None
        asked = partial(bytes.fromhex, sha256)

        async def by(choice: Choice) -> tuple[Results, str]:
            vector = await self._query_vectors.of_picture(choice.model, data, sha256)
            return await self._search(choice, vector, A_PICTURE, wanted, window)

        async def search(live: Sequence[EmbeddingModel]) -> tuple[Results, str]:
            return await self._answer(
                choose(live, wanted.owner_id, asked, share=self._trial_share, going_on=going_on), by
            )

        return await self._models.answer(search, settle=True)

    async def _answer(
        self, choices: Sequence[Choice], search: Callable[[Choice], Awaitable[tuple[Results, str]]]
    ) -> tuple[Results, str]:
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

    async def _vectors_of(self, model: EmbeddingModel, owner_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, Vector]:
        """Return images' vectors from the index, or from the database while the index is behind.

        Whose images they are is known when their rows are read, along with those that are found.
        """
        found = await self._vectors.fetch(collection_of(model), ids)
        missing = [id_ for id_ in ids if id_ not in found]
        stored = await reads.find_stored(self._database, owner_id, missing, model.id) if missing else {}
        return found | {id_: _vector_of(id_, stored.get(id_)) for id_ in missing}

    async def _require_searchable(self, owner_id: UUID, ids: Sequence[UUID]) -> None:
        if ids:
            _require_done(ids, (await reads.find_shown(self._database, owner_id, ids)).by_id)

    async def _search(
        self, choice: Choice, vector: Vector, examples: Sequence[Example], wanted: Filter, window: Window
    ) -> tuple[Results, str]:
        """Return the results, and the version of the live models when the images were read."""
        model = choice.model
        thresholds = thresholds_of(model)
        good = good_score(examples, thresholds)
        if window.good_only:
            least = require_good(good, thresholds)
            window = replace(window, min_score=max(least, window.min_score or least))
        ids = ids_of(examples)
        page = await self._page(model, vector, wanted, window, exclude=ids)
        rows, version = await reads.find_shown(
            self._database, wanted.owner_id, [*ids, *(match.id for match in page.matches)]
        )
        _require_done(ids, rows)
        results = Results(
            model=model,
            # What the index still holds of an image that was deleted, or hidden just now, is not shown.
            ranked=[
                (match.score, row)
                for match in page.matches
                if (row := rows.get(match.id)) is not None and _may_show(row, wanted)
            ],
            seen=window.seen_after(page, model.id) if page.more else None,
            no_good_match=window.seen is None and not _any_good(page.matches, good),
            trial=choice.trial,
        )
        return results, version

    async def _page(
        self, model: EmbeddingModel, vector: Vector, wanted: Filter, window: Window, exclude: Sequence[UUID]
    ) -> Page:
        collection = collection_of(model)

        async def query(limit: int) -> list[Match]:
            return await self._query(
                collection, vector, filter=wanted, limit=limit, min_score=window.min_score, exclude=exclude
            )

        if window.ranking.plain:
            return await next_page(query, window)
        return await Reordering(self._database, model, wanted.owner_id).next_page(query, window)


def _require_done(ids: Sequence[UUID], rows: Mapping[UUID, ShownImage]) -> None:
    """Raise for the first of some images that is not the owner's, or is not searchable (any more)."""
    for id_ in ids:
        if id_ not in rows:
            raise _not_found(id_)
        if rows[id_].status != ImageStatus.DONE:
            raise _not_indexed(id_, rows[id_].status)


def _vector_of(image_id: UUID, stored: StoredVector | None) -> Vector:
    """Return an image's vector by a model; one that is being built may not have it yet."""
    if stored is None:
        raise _not_found(image_id)
    if stored.status != ImageStatus.DONE or stored.vector is None:
        raise _not_indexed(image_id, stored.status)
    return stored.vector


def _not_found(image_id: UUID) -> NotFound:
    return NotFound(f"there is no image {image_id}", code="image_not_found")


def _not_indexed(image_id: UUID, status: str) -> Conflict:
    return Conflict(f"image {image_id} is {status}, it has no vector yet", code="image_not_indexed")


def _any_vector(examples: Sequence[Example]) -> bool:
    return any(not isinstance(example.of, str | UUID) for example in examples)


def _may_show(row: ShownImage, wanted: Filter) -> bool:
    return wanted.include_hidden or row.visibility != Visibility.HIDDEN


def _any_good(matches: Sequence[Match], good: float | None) -> bool:
    """Tell whether there is a good match; as long as nobody knows what that is, any is."""
    return any(good is None or match.score >= good for match in matches)
