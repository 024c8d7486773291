"""The search use cases: get a vector, ask the index, fetch the rows fresh from PostgreSQL."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from api.candidates import Candidates
from api.examples import Example, Vector, add_up, ids_of, spell, texts_of
from api.good_matches import good_score, require_good
from api.model_choice import Choice, choose, stale_cursor
from api.paging import Page, Seen, Window, next_page
from api.query_vectors import QueryVectors
from api.reordering import Reordering
from api.settings import CacheSettings
from common.active_model import agree_on_model
from common.db import embedding_models, reads
from common.db.calibration import thresholds_of
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.db.reads import ShownImage, StoredVectors
from common.embedder_client import EmbedderClient
from common.errors import ConfigurationError, Conflict, InfrastructureError, InvalidInput, NotFound, UnknownModel
from common.status import ImageStatus, Visibility
from common.vectors.base import Collection, Filter, Match, VectorIndex

log = structlog.get_logger(__name__)

_A_PICTURE: Sequence[Example] = ()
"""What a search for a picture that is not kept has for examples."""


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
        self._embedder = embedder
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
        live, stored = await self._look_up(wanted.owner_id, ids, settle=bool(texts))
        _require_indexed(ids, stored)
        if not live:
            raise Conflict("nothing is indexed yet", code="nothing_indexed")

        async def search(choice: Choice) -> Results:
            shown = {id_: _vector_by(choice.model, id_, stored[id_]) for id_ in ids}
            said = await self._query_vectors.of_texts(choice.model, texts)
            vector = add_up(choice.model, examples, shown, said)
            return await self._search(choice, vector, examples, wanted, window)

        # A vector is of the active model: another one's can't be compared with it.
        share = 0 if _any_vector(examples) else self._trial_share
        going_on = window.seen.model_id if window.seen else None
        return await self._answer(
            choose(live, wanted.owner_id, spell(examples), share=share, going_on=going_on), search
        )

    async def by_picture(self, data: bytes, sha256: str, wanted: Filter, window: Window) -> Results:
        """Find what is like a picture that is not kept; `sha256` is its hash.

        Raises:
            ImageRejected: the picture can't be read.
            Conflict, InvalidInput: `not_calibrated`; the cursor's model is gone.
            EmbedderUnavailable, ConfigurationError: the embedder does not serve the active model.
        """
        live, _ = await self._look_up(wanted.owner_id, (), settle=True)

        async def search(choice: Choice) -> Results:
            vector = await self._query_vectors.of_picture(choice.model, data, sha256)
            return await self._search(choice, vector, _A_PICTURE, wanted, window)

        going_on = window.seen.model_id if window.seen else None
        query = bytes.fromhex(sha256)
        return await self._answer(
            choose(live, wanted.owner_id, query, share=self._trial_share, going_on=going_on), search
        )

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

    async def _look_up(
        self, owner_id: UUID, ids: Sequence[UUID], *, settle: bool
    ) -> tuple[list[EmbeddingModel], dict[UUID, StoredVectors]]:
        """Return the live models, the active one first, and what they have of some images.

        Where there is none yet, to `settle` makes the embedder's the active one.
        """
        live, stored = await reads.find_live(self._database, owner_id, ids)
        if not live and settle:
            live = [(await agree_on_model(self._database, self._embedder))[0]]
        return live, stored

    async def _search(
        self, choice: Choice, vector: Vector, examples: Sequence[Example], wanted: Filter, window: Window
    ) -> Results:
        model = choice.model
        thresholds = thresholds_of(model)
        good = good_score(examples, thresholds)
        if window.good_only:
            least = require_good(good, thresholds)
            window = replace(window, min_score=max(least, window.min_score or least))
        page = await self._page(model, vector, wanted, window, exclude=ids_of(examples))
        rows = await reads.find_shown(self._database, wanted.owner_id, [match.id for match in page.matches])
        return Results(
            model=model,
            # What the index still holds of an image that was deleted, or hidden just now, is not shown.
            ranked=[(match.score, rows[match.id]) for match in page.matches if _may_show(rows.get(match.id), wanted)],
            seen=window.seen_after(page, model.id) if page.more else None,
            no_good_match=window.seen is None and not _any_good(page.matches, good),
            trial=choice.trial,
        )

    async def _page(
        self, model: EmbeddingModel, vector: Vector, wanted: Filter, window: Window, exclude: Sequence[UUID]
    ) -> Page:
        collection = Collection(model.collection, model.dim)
        await self._vectors.ensure(collection)

        async def query(limit: int) -> list[Match]:
            return await self._query(
                collection, vector, filter=wanted, limit=limit, min_score=window.min_score, exclude=exclude
            )

        if window.ranking.plain:
            return await next_page(query, window)
        return await Reordering(self._database, model, wanted.owner_id).next_page(query, window)


def _require_indexed(ids: Sequence[UUID], stored: Mapping[UUID, StoredVectors]) -> None:
    """Raise for the first of some images that is not the owner's, or is in no collection."""
    for id_ in ids:
        if id_ not in stored:
            raise NotFound(f"there is no image {id_}", code="image_not_found")
        if stored[id_].status != ImageStatus.DONE or not stored[id_].by_model:
            raise _not_indexed(id_, stored[id_])


def _vector_by(model: EmbeddingModel, image_id: UUID, stored: StoredVectors) -> Vector:
    """Return an image's vector by a model; one that is being built may not have it yet."""
    if model.id not in stored.by_model:
        raise _not_indexed(image_id, stored)
    return stored.by_model[model.id]


def _not_indexed(image_id: UUID, stored: StoredVectors) -> Conflict:
    return Conflict(f"image {image_id} is {stored.status}, it has no vector yet", code="image_not_indexed")


def _any_vector(examples: Sequence[Example]) -> bool:
    return any(not isinstance(example.of, str | UUID) for example in examples)


def _may_show(row: ShownImage | None, wanted: Filter) -> bool:
    return row is not None and (wanted.include_hidden or row.visibility != Visibility.HIDDEN)


def _any_good(matches: Sequence[Match], good: float | None) -> bool:
    """Tell whether there is a good match; as long as nobody knows what that is, any is."""
    return any(good is None or match.score >= good for match in matches)
