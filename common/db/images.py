"""Rows of `images`: record uploads, find, list, edit, delete. State changes are `common.db.lifecycle`'s."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import counted_moves, likenesses
from common.db.attempts import LEASE
from common.db.criteria import NEVER
from common.db.models import OWNER, Folder, Image, ImageEvent, Tombstone
from common.errors import NotFound
from common.status import ImageStatus
from common.transitions import DELETED

GRACE = 2 * LEASE
"""How long a deleted image is remembered: no worker can still be writing what belonged to it after this."""

_FILTERED_BY_INDEX = frozenset({"category", "tags", "attributes", "visibility"})

_LOCK_HASHES = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended(hash, 0)) "
    "FROM (SELECT unnest(CAST(:hashes AS text[])) AS hash ORDER BY hash) AS hashes"
)


@dataclass(frozen=True, slots=True)
class NewImage:
    """An upload to be recorded."""

    owner_id: UUID
    folder_id: UUID
    sha256: str
    object_key: str
    filename: str
    media_type: str
    byte_size: int
    width: int
    height: int
    external_id: str | None = None
    title: str | None = None
    description: str | None = None
    category: str | None = None
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The row of an upload: a new one, or the one that held the same bytes in that folder already."""

    image: Image
    created: bool


@dataclass(frozen=True, slots=True)
class State:
    """Where an image is, and why if it was given up."""

    id: UUID
    status: str
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """Which of an owner's images to list."""

    owner_id: UUID
    status: str | None = None
    folder_id: UUID | None = None
    tag: str | None = None
    category: str | None = None


Position = tuple[datetime, UUID]
"""Where a page of a listing (newest first) ended: `created_at` and id of its last image."""


async def record(session: AsyncSession, uploads: Sequence[NewImage]) -> list[Recorded | None]:
    """Record uploads as `created`; the same bytes in the same folder give the row that is there.

    One result per upload, in order. None: its `external_id` belongs to another of the owner's images. The bytes of
    these hashes can't be purged before this transaction ends, see `lock_for_purge`.
    """
    await session.execute(_LOCK_HASHES, {"hashes": sorted({upload.sha256 for upload in uploads})})
    inserted: set[UUID] = set()
    images: dict[tuple[UUID, str], Image] = {}
    missing = list(uploads)
    while missing:
        inserted |= await _insert(session, missing)
        images |= await _find_by_content(session, missing)
        missing = [upload for upload in missing if (upload.folder_id, upload.sha256) not in images]
        if await _any_external_id_taken(session, missing):
            break
        # Still missing is what was deleted after it stood in the way of its insert: once more.
    return _match(uploads, images, inserted)


async def _insert(session: AsyncSession, uploads: Sequence[NewImage]) -> set[UUID]:
    # In one order, whatever the request's: two requests with the same files would deadlock otherwise.
    rows = [_row(upload) for upload in sorted(uploads, key=lambda upload: (upload.folder_id, upload.sha256))]
    inserted = set(await session.scalars(insert(Image).values(rows).on_conflict_do_nothing().returning(Image.id)))
    await session.execute(
        insert(ImageEvent).from_select(
            ["image_id", "to_status", "attempt"],
            select(Image.id, Image.status, Image.attempt).where(Image.id.in_(inserted)),
        )
    )
    counted_moves.note(session, [(counted_moves.NEW, ImageStatus.CREATED)] * len(inserted))
    return inserted


async def _find_by_content(session: AsyncSession, uploads: Sequence[NewImage]) -> dict[tuple[UUID, str], Image]:
    keys = {(upload.folder_id, upload.sha256) for upload in uploads}
    found = await session.scalars(select(Image).where(tuple_(Image.folder_id, Image.sha256).in_(keys)))
    return {(image.folder_id, image.sha256): image for image in found}


async def _any_external_id_taken(session: AsyncSession, uploads: Sequence[NewImage]) -> bool:
    keys = {(upload.owner_id, upload.external_id) for upload in uploads if upload.external_id is not None}
    query = select(Image.id).where(tuple_(Image.owner_id, Image.external_id).in_(keys)).limit(1)
    return bool(keys) and await session.scalar(query) is not None


def _row(upload: NewImage) -> dict[str, Any]:
    return {"id": uuid4(), **{name: getattr(upload, name) for name in upload.__slots__}}


def _match(
    uploads: Sequence[NewImage], images: Mapping[tuple[UUID, str], Image], inserted: set[UUID]
) -> list[Recorded | None]:
    results: list[Recorded | None] = []
    seen: set[UUID] = set()
    for upload in uploads:
        image = images.get((upload.folder_id, upload.sha256))
        if image is None:
            results.append(None)
            continue
        results.append(Recorded(image, created=image.id in inserted and image.id not in seen))
        seen.add(image.id)
    return results


async def get(session: AsyncSession, owner_id: UUID, image_id: UUID, *, for_update: bool = False) -> Image:
    """Return one of the owner's images, locked if it is to be changed, or raise `NotFound`."""
    query = select(Image).where(Image.id == image_id, Image.owner_id == owner_id)
    image = await session.scalar(query.with_for_update() if for_update else query)
    if image is None:
        raise NotFound(f"there is no image {image_id}", code="image_not_found")
    return image


async def find_states(session: AsyncSession, owner_id: UUID, ids: Sequence[UUID]) -> dict[UUID, State]:
    """Return the states of those of the owner's images that exist, by id; cheap enough to be polled."""
    query = select(Image.id, Image.status, Image.error_code, Image.error_message)
    rows = await session.execute(query.where(Image.id.in_(ids), Image.owner_id == owner_id))
    return {row.id: State(*row) for row in rows}


async def list_page(session: AsyncSession, wanted: ImageFilter, *, limit: int, after: Position | None) -> list[Image]:
    """Return up to `limit` images, newest first, that come after the position."""
    query = select(Image).where(Image.owner_id == wanted.owner_id)
    if wanted.status is not None:
        query = query.where(Image.status == wanted.status)
    if wanted.folder_id is not None:
        query = query.where(Image.folder_id == wanted.folder_id)
    if wanted.category is not None:
        query = query.where(Image.category == wanted.category)
    if wanted.tag is not None:
        query = query.where(Image.tags.contains([wanted.tag]))
    if after is not None:
        query = query.where(tuple_(Image.created_at, Image.id) < after)
    query = query.order_by(Image.created_at.desc(), Image.id.desc()).limit(limit)
    return list(await session.scalars(query))


async def list_events(session: AsyncSession, image_id: UUID) -> list[ImageEvent]:
    """Return the history of an image, oldest first."""
    query = select(ImageEvent).where(ImageEvent.image_id == image_id).order_by(ImageEvent.id)
    return list(await session.scalars(query))


async def owns_folder(session: AsyncSession, owner_id: UUID, folder_id: UUID) -> bool:
    """Tell whether the folder is the owner's."""
    query = select(Folder.id).where(Folder.id == folder_id, Folder.owner_id == owner_id)
    return await session.scalar(query) is not None


async def edit(session: AsyncSession, owner_id: UUID, image_id: UUID, changes: Mapping[str, Any]) -> Image:
    """Change descriptive fields; `payload_version` rises when the vector index filters by one of them.

    A `visibility` given here is the owner's, and final.

    Raises:
        NotFound: not one of the owner's images.
    """
    image = await get(session, owner_id, image_id, for_update=True)
    if not changes:
        return image
    values: dict[str, Any] = {**changes, "updated_at": func.now()}
    if _FILTERED_BY_INDEX & changes.keys():
        values["payload_version"] = Image.payload_version + 1
    if "visibility" in changes:
        values["visibility_by"] = OWNER
    await session.execute(update(Image).where(Image.id == image_id).values(values))
    await session.refresh(image)
    return image


async def mark_payload_indexed(session: AsyncSession, image: Image) -> Image | None:
    """Note that the vector index holds this image's payload; if it was edited since, return it as it is now."""
    marked = await session.scalar(
        update(Image)
        .where(Image.id == image.id, Image.payload_version == image.payload_version)
        .values(indexed_version=image.payload_version)
        .returning(Image.id)
    )
    return None if marked else await session.get(Image, image.id)


async def find_stale_payloads(session: AsyncSession, *, limit: int) -> list[Image]:
    """Find `done` images whose edits the vector index has not got yet."""
    query = (
        select(Image)
        .where(Image.status == "done", Image.payload_version != Image.indexed_version)
        .order_by(Image.updated_at)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def find_unsettled(session: AsyncSession, *, older_than: timedelta, limit: int) -> list[Image]:
    """Find images left `created`: their upload was cut off before, or just after, the object was stored.

    Imports are not among them: they are `created` until they have been downloaded, however long that takes.
    """
    query = (
        select(Image)
        .where(Image.status == "created", Image.source_url.is_(None), Image.created_at < func.now() - older_than)
        .order_by(Image.created_at)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def delete(session: AsyncSession, owner_id: UUID, image_id: UUID) -> str | None:
    """Delete the row, leave a tombstone that names what is left of it in the stores; return the bytes' SHA-256.

    None: an import that has no bytes yet, so nothing is left of it.

    Raises:
        NotFound: not one of the owner's images.
    """
    row = (
        await session.execute(
            sql_delete(Image)
            .where(Image.id == image_id, Image.owner_id == owner_id)
            .returning(Image.sha256, Image.compared_by, Image.status)
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no image {image_id}", code="image_not_found")
    counted_moves.note(session, [(row.status, DELETED)])
    sha256: str | None = row.sha256
    if sha256 is not None:
        await bury_remains(session, image_id, sha256)
        if row.compared_by != NEVER:
            await likenesses.lose_copy(session, owner_id, sha256)
    return sha256


async def bury_remains(session: AsyncSession, image_id: UUID, sha256: str) -> None:
    """Remember that the vector and, if unused, the bytes of a row that is gone are to be purged."""
    await session.execute(insert(Tombstone).values(image_id=image_id, sha256=sha256, purge_after=func.now() + GRACE))


async def expire_unsettled(session: AsyncSession, image_id: UUID, *, older_than: timedelta) -> bool:
    """Delete an image that is still `created` after so long: it has no object, and its upload was never accepted."""
    sha256: str | None = await session.scalar(
        sql_delete(Image)
        .where(
            Image.id == image_id,
            Image.status == "created",
            Image.source_url.is_(None),
            Image.created_at < func.now() - older_than,
        )
        .returning(Image.sha256)
    )
    if sha256 is not None:
        counted_moves.note(session, [(ImageStatus.CREATED, DELETED)])
        await bury_remains(session, image_id, sha256)
    return sha256 is not None
