"""The upload use case: screen each file, record it, store its bytes, commit `pending`, then wake a worker.

The order is what makes an accepted upload safe: 202 is answered only after the object is stored and `pending` is
committed. A process that dies before leaves a row in `created`, which the sweep settles one way or the other.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from arq.connections import ArqRedis

from api.schemas.images import UploadFields
from api.settings import UploadSettings
from common import jobs
from common.db import images, lifecycle
from common.db.engine import Database
from common.db.images import NewImage, Recorded, State
from common.db.models import LOCAL_FOLDER_ID, Image
from common.errors import ImageRejected, InvalidInput, NotFound, StorageUnavailable
from common.imaging import Header
from common.received import ReceivedFile, screen
from common.status import ImageStatus
from common.storage import ObjectStore, object_key
from common.transitions import Move, log_moves

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that is stored, and its image."""

    filename: str
    image: Image
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that was not accepted, and why."""

    filename: str
    error: ImageRejected


@dataclass(frozen=True, slots=True)
class _Screened:
    file: ReceivedFile
    header: Header


class Ingestion:
    """Takes uploads in; one per process."""

    def __init__(self, database: Database, storage: ObjectStore, redis: ArqRedis, limits: UploadSettings) -> None:
        self._database = database
        self._storage = storage
        self._redis = redis
        self._limits = limits

    async def ingest(
        self, owner_id: UUID, fields: UploadFields, files: Sequence[ReceivedFile]
    ) -> tuple[list[Accepted], list[Rejected]]:
        """Accept what is an image within the limits, reject the rest; one bad file harms no other.

        Raises:
            InvalidInput: no files, or one `external_id` for several.
            NotFound: the folder is not the owner's.
            DatabaseUnavailable, StorageUnavailable: nothing is promised; uploading again is safe.
        """
        if not files:
            raise InvalidInput("the request has no file", code="no_files")
        if fields.external_id is not None and len(files) > 1:
            raise InvalidInput("an external_id names one image: send one file with it", code="external_id_for_many")
        screened, rejected = await asyncio.to_thread(self._screen, files)
        if not screened:
            return [], rejected
        recorded = await self._record(owner_id, fields, screened)
        accepted: list[tuple[_Screened, Recorded]] = []
        for item, row in zip(screened, recorded, strict=True):
            if row is None:
                taken = ImageRejected(
                    f"external_id {fields.external_id!r} is another image's", code="external_id_taken"
                )
                rejected.append(Rejected(item.file.filename, taken))
            else:
                accepted.append((item, row))
        states = await self._store(owner_id, accepted)
        await jobs.hint(self._redis, [id_ for id_, state in states.items() if state.status == ImageStatus.PENDING])
        kept: list[Accepted] = []
        for item, row in accepted:
            if row.image.status == ImageStatus.CREATED and row.image.id not in states:
                gone = ImageRejected("deleted while it was uploaded: send it once more", code="image_deleted")
                rejected.append(Rejected(item.file.filename, gone))
                continue
            if row.image.id in states:
                row.image.status = states[row.image.id].status
            kept.append(Accepted(item.file.filename, row.image, duplicate=not row.created))
        return kept, rejected

    def _screen(self, files: Sequence[ReceivedFile]) -> tuple[list[_Screened], list[Rejected]]:
        """Tell images from the rest by their first bytes and header; blocks, decodes no pixels."""
        screened: list[_Screened] = []
        rejected: list[Rejected] = []
        for file in files:
            try:
                screened.append(_Screened(file, screen(file, self._limits)))
            except ImageRejected as error:
                rejected.append(Rejected(file.filename, error))
        return screened, rejected

    async def _record(
        self, owner_id: UUID, fields: UploadFields, screened: Sequence[_Screened]
    ) -> list[Recorded | None]:
        folder_id = fields.folder_id or LOCAL_FOLDER_ID
        described = fields.model_dump(exclude={"folder_id"})
        uploads = [
            NewImage(
                owner_id=owner_id,
                folder_id=folder_id,
                sha256=item.file.sha256,
                object_key=object_key(item.file.sha256),
                filename=item.file.filename,
                media_type=item.header.media_type,
                byte_size=item.file.size,
                width=item.header.width,
                height=item.header.height,
                **described,
            )
            for item in screened
        ]
        async with self._database.begin() as session:
            if not await images.owns_folder(session, owner_id, folder_id):
                raise NotFound(f"there is no folder {folder_id}", code="folder_not_found")
            recorded = await images.record(session, uploads)
        log_moves(
            Move(row.image.id, None, row.image.status, row.image.attempt)
            for row in recorded
            if row is not None and row.created
        )
        return recorded

    async def _store(self, owner_id: UUID, accepted: Sequence[tuple[_Screened, Recorded]]) -> dict[UUID, State]:
        """Store the bytes of rows still `created`, new or left by an upload that died; return their states then.

        A row that was deleted meanwhile is missing from the answer.
        """
        unstored = {row.image.id: item for item, row in accepted if row.image.status == ImageStatus.CREATED}
        known = {item.file.sha256: item for item, row in accepted if row.image.status != ImageStatus.CREATED}
        # All are waited for, also when one fails: each reads a file that is gone when the request ends.
        outcomes = await asyncio.gather(
            *map(self._put, unstored.values()), *map(self._restore, known.values()), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        if not unstored:
            return {}
        async with self._database.begin() as session:
            stored = await lifecycle.mark_stored(session, list(unstored))
            # What another upload of the same bytes has moved on counts as well.
            states = await images.find_states(session, owner_id, list(unstored))
        log_moves(stored.values())
        return states

    async def _restore(self, item: _Screened) -> None:
        """Store the bytes of a row that has some, should the bucket have lost them."""
        try:
            found = await self._storage.find(object_key(item.file.sha256))
        except StorageUnavailable:
            return  # they were accepted long ago, and nobody knows that they are lost
        if found is None:
            await self._put(item)
            log.warning("original_restored", sha256=item.file.sha256)

    async def _put(self, item: _Screened) -> None:
        file = item.file
        await self._storage.put(object_key(file.sha256), file.content, file.size, item.header.media_type)
