"""The import use case: record what is to be downloaded. A worker does that; then it goes the way of an upload."""

from uuid import UUID

from api.ingestion import Accepted
from api.schemas.images import ImportFields
from common.db import images, imports
from common.db.engine import Database
from common.db.imports import NewImport
from common.db.models import LOCAL_FOLDER_ID
from common.errors import ImageRejected, NotFound
from common.source_urls import SourceUrl
from common.transitions import Move


async def import_image(database: Database, owner_id: UUID, fields: ImportFields) -> Accepted:
    """Record an import; nothing is looked up or connected to.

    Raises:
        InvalidInput: `invalid_url`.
        NotFound: the folder is not the owner's.
        ImageRejected: `external_id_taken`.
        DatabaseUnavailable: nothing is promised; with an `external_id` asking again is safe.
    """
    source = SourceUrl.parse(fields.url)
    folder_id = fields.folder_id or LOCAL_FOLDER_ID
    described = fields.model_dump(exclude={"folder_id", "url"})
    new = NewImport(owner_id, folder_id, str(source.url), source.filename, **described)
    async with database.begin() as session:
        if not await images.owns_folder(session, owner_id, folder_id):
            raise NotFound(f"there is no folder {folder_id}", code="folder_not_found")
        image = await imports.record(session, new)
    if image is None:
        raise ImageRejected(f"external_id {fields.external_id!r} is another image's", code="external_id_taken")
    Move(image.id, None, image.status, image.attempt).log()
    return Accepted(new.filename, image, duplicate=False)
