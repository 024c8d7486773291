"""What routes ask for, as annotated types. All coroutines: FastAPI runs other functions on threads, a hop for each."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Query, Request
from pydantic import AwareDatetime

from api.admission import Admission
from api.attributes import parse_json_conditions
from api.cursors import MAX_LIMIT, decode_seen
from api.facets import Facets, count_facets
from api.ingestion import Ingestion
from api.logged_similarity import LoggedSimilarity
from api.paging import Window
from api.ranking import Ranking
from api.schemas.search import Diversity, GoodOnly, HalfLifeDays, IncludeHidden, OnePerGroup, Recency, WithFacets
from api.schemas.text import Text
from api.settings import ApiSettings
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.purge import Purge
from common.storage import ObjectStore
from common.vectors.base import Filter, VectorIndex


async def _owner() -> UUID:
    """Return whose images the request may see; there are no accounts yet."""
    return LOCAL_OWNER_ID


async def _settings(request: Request) -> ApiSettings:
    settings: ApiSettings = request.state.settings
    return settings


async def _database(request: Request) -> Database:
    database: Database = request.state.database
    return database


async def _storage(request: Request) -> ObjectStore:
    storage: ObjectStore = request.state.storage
    return storage


async def _vectors(request: Request) -> VectorIndex:
    vectors: VectorIndex = request.state.vectors
    return vectors


async def _admission(request: Request) -> Admission:
    admission: Admission = request.state.admission
    return admission


async def _ingestion(request: Request) -> Ingestion:
    ingestion: Ingestion = request.state.ingestion
    return ingestion


async def _similarity(
    request: Request,
    session: Annotated[
        str | None,
        Header(
            alias="X-Session-ID",
            description="One person's visit, for the search log: up to 128 letters, digits and `._-`, or ignored.",
        ),
    ] = None,
) -> LoggedSimilarity:
    state = request.state
    return LoggedSimilarity(state.similarity, state.search_log, state.settings.search_log, session)


async def _purge(request: Request) -> Purge:
    purge: Purge = request.state.purge
    return purge


OwnerDep = Annotated[UUID, Depends(_owner)]
SettingsDep = Annotated[ApiSettings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
StorageDep = Annotated[ObjectStore, Depends(_storage)]
VectorsDep = Annotated[VectorIndex, Depends(_vectors)]
AdmissionDep = Annotated[Admission, Depends(_admission)]
IngestionDep = Annotated[Ingestion, Depends(_ingestion)]
SimilarityDep = Annotated[LoggedSimilarity, Depends(_similarity)]
PurgeDep = Annotated[Purge, Depends(_purge)]

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of one page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
CategoryParam = Annotated[Text | None, Query(description="Only this category.")]
FolderParam = Annotated[UUID | None, Query(description="Only this folder.")]
TagParam = Annotated[Text | None, Query(description="Only images with this tag.")]


async def _ranking(
    diversity: Diversity = 0.0,
    recency: Recency = 0.0,
    half_life_days: HalfLifeDays = 30.0,
    one_per_group: OnePerGroup = False,
) -> Ranking:
    return Ranking(diversity, recency, timedelta(days=half_life_days), one_per_group)


async def _window(
    ranking: Annotated[Ranking, Depends(_ranking)],
    limit: Limit = 20,
    cursor: Cursor = None,
    min_score: Annotated[float | None, Query(ge=-1, le=1, description="Leave out what is less similar.")] = None,
    good_only: GoodOnly = False,
) -> Window:
    return Window(limit, decode_seen(cursor), min_score, ranking, good_only)


async def _wanted(
    owner: OwnerDep,
    settings: SettingsDep,
    folder_id: FolderParam = None,
    category: CategoryParam = None,
    tag: Annotated[
        list[Text] | None, Query(description="Only images with this tag; repeat it for all of several.")
    ] = None,
    any_tag: Annotated[
        list[Text] | None, Query(description="Only images with this tag; repeat it for at least one of several.")
    ] = None,
    label: Annotated[
        list[Text] | None, Query(description="Only images in which this was seen; repeat it for all of several.")
    ] = None,
    include_hidden: IncludeHidden = False,
    created_from: Annotated[AwareDatetime | None, Query(description="Only images created then or later.")] = None,
    created_before: Annotated[AwareDatetime | None, Query(description="Only images created before that.")] = None,
    attributes: Annotated[
        Text | None, Query(description='Conditions on declared attributes, as JSON: `{"price": {"lte": 100}}`.')
    ] = None,
) -> Filter:
    return Filter(
        owner_id=owner,
        folder_id=folder_id,
        category=category,
        tags=tuple(tag or ()),
        any_tags=tuple(any_tag or ()),
        created_from=created_from,
        created_before=created_before,
        attributes=parse_json_conditions(attributes, settings.search.attributes),
        labels=tuple(label or ()),
        include_hidden=include_hidden,
    )


async def _facets(
    database: DatabaseDep,
    vectors: VectorsDep,
    wanted: Annotated[Filter, Depends(_wanted)],
    facets: WithFacets = False,
) -> Facets | None:
    return await count_facets(database, vectors, wanted) if facets else None


FacetsDep = Annotated[Facets | None, Depends(_facets)]
WindowDep = Annotated[Window, Depends(_window)]
FilterDep = Annotated[Filter, Depends(_wanted)]
