"""What routes ask for, as annotated types. All coroutines: FastAPI runs other functions on threads, a hop for each."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request

from api.admission import Admission
from api.cursors import MAX_LIMIT
from api.ingestion import Ingestion
from api.logged_similarity import LoggedSimilarity
from api.schemas.text import Text
from api.searches import Searches
from api.settings import ApiSettings
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.purge import Purge
from common.storage import ObjectStore
from common.vectors.base import VectorIndex


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


_SESSION = "X-Session-ID"
_SESSION_IS = "One person's visit, for the search log: up to 128 letters, digits and `._-`, or ignored."
SESSION_PARAMETER: dict[str, Any] = {
    "name": _SESSION,
    "in": "header",
    "required": False,
    "schema": {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "description": _SESSION_IS,
        "title": _SESSION.title(),
    },
    "description": _SESSION_IS,
}
"""The documentation of a header that `searches_of` reads, as FastAPI has it for `SearchesDep`."""


async def searches_of(request: Request) -> Searches:
    """Return what `SearchesDep` is, for a `DirectRoute`."""
    return await _searches(request, await _owner(), request.headers.get(_SESSION))


async def _searches(
    request: Request,
    owner: Annotated[UUID, Depends(_owner)],
    session: Annotated[str | None, Header(alias=_SESSION, description=_SESSION_IS)] = None,
) -> Searches:
    state = request.state
    similarity = LoggedSimilarity(state.similarity, state.search_log, state.settings.search_log, session)
    return Searches(owner, state.settings.search.attributes, similarity, state.database, state.vectors)


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
SearchesDep = Annotated[Searches, Depends(_searches)]
PurgeDep = Annotated[Purge, Depends(_purge)]

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of one page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
CategoryParam = Annotated[Text | None, Query(description="Only this category.")]
FolderParam = Annotated[UUID | None, Query(description="Only this folder.")]
TagParam = Annotated[Text | None, Query(description="Only images with this tag.")]
