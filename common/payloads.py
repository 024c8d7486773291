"""Keeping the payload in the vector index, which filters go by, in step with the rows."""

from collections.abc import Sequence

import structlog

from common.attributes import filterable
from common.db import images
from common.db.attempts import Claim
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.errors import InfrastructureError
from common.status import ImageStatus, Visibility
from common.vectors.base import Collection, Payload, VectorIndex

log = structlog.get_logger(__name__)


def payload_of(image: Image | Claim) -> Payload:
    """Return what the vector index is to know of an image."""
    return Payload(
        owner_id=image.owner_id,
        folder_id=image.folder_id,
        category=image.category,
        tags=tuple(image.tags),
        created_at=image.created_at,
        attributes=filterable(image.attributes),
        labels=tuple(sorted({label for scores in image.labels.values() for label in scores})),
        hidden=image.visibility == Visibility.HIDDEN,
    )


async def try_sync_payload(
    database: Database, vectors: VectorIndex, models: Sequence[EmbeddingModel], image: Image
) -> None:
    """Bring an indexed image's payload up to date; what fails is logged and left to the sweep."""
    try:
        await sync_payload(database, vectors, models, image)
    except InfrastructureError as error:
        log.warning("payload_postponed", image_id=str(image.id), code=error.code, error=str(error))


async def sync_payload(
    database: Database, vectors: VectorIndex, models: Sequence[EmbeddingModel], image: Image
) -> None:
    """Bring an indexed image's payload up to date in the collections of the live models.

    These are those that were live after the edit: what is written to a model's collection that came later has it.

    Of two edits at once the later one may be written first. So each, having written, looks whether its version is
    still the row's, and writes again if not: the last write is always of the last version.
    """
    collections = [Collection(model.collection, model.dim) for model in models]
    current: Image | None = image
    for collection in collections:
        await vectors.ensure(collection)
    while current is not None and current.status == ImageStatus.DONE:
        for collection in collections:
            await vectors.set_payload(collection, current.id, payload_of(current))
        async with database.begin() as session:
            current = await images.mark_payload_indexed(session, current)
