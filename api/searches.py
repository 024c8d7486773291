"""The searches of one request: whose images they are about, and what is answered."""

from collections.abc import Sequence
from uuid import UUID

from api.answers import SearchAnswer
from api.examples import Example
from api.facets import count_facets
from api.logged_similarity import LoggedSimilarity
from api.paging import Window
from api.schemas.search import FacetsOut, FilterIn
from api.schemas.search_params import FilterParams
from common.attributes import Declared
from common.db.engine import Database
from common.vectors.base import Filter, VectorIndex


class Searches:
    """The search use cases, as an owner's request has them; they raise what `Similarity` does."""

    def __init__(
        self,
        owner_id: UUID,
        declared: Declared,
        similarity: LoggedSimilarity,
        database: Database,
        vectors: VectorIndex,
    ) -> None:
        self._owner_id = owner_id
        self._declared = declared
        self._similarity = similarity
        self._database = database
        self._vectors = vectors

    def filter_of(self, asked: FilterParams | FilterIn) -> Filter:
        """Return what is asked for, among the owner's images; raise `InvalidInput` where that is none."""
        return asked.filter_of(self._owner_id, self._declared)

    async def by_examples(
        self, examples: Sequence[Example], wanted: Filter, window: Window, *, facets: bool
    ) -> SearchAnswer:
        """Answer with what is like some things and unlike others."""
        results = await self._similarity.by_examples(examples, wanted, window)
        return SearchAnswer(results, await self._count(wanted) if facets else None)

    async def by_picture(
        self, data: bytes, sha256: str, wanted: Filter, window: Window, *, facets: bool
    ) -> SearchAnswer:
        """Answer with what is like a picture that is not kept; `sha256` is its hash."""
        results = await self._similarity.by_picture(data, sha256, wanted, window)
        return SearchAnswer(results, await self._count(wanted) if facets else None)

    async def _count(self, wanted: Filter) -> FacetsOut:
        return FacetsOut.of(await count_facets(self._database, self._vectors, wanted))
