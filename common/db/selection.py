"""Which failed images an operator means: by id, code, folder, model, and how lately they failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Image
from common.status import ImageStatus


@dataclass(frozen=True, slots=True)
class Selection:
    """Images in `error` that meet every condition given; without any: all of them.

    Attributes:
        ids: only these images.
        code: only this error code.
        folder_id: only this folder.
        model_ids: only those whose last attempt was by one of these models.
        since: only what failed within this time.
        limit: at most so many, those that failed first.
    """

    ids: Sequence[UUID] | None = None
    code: str | None = None
    folder_id: UUID | None = None
    model_ids: Sequence[int] | None = None
    since: timedelta | None = None
    limit: int | None = None


async def find_failed(session: AsyncSession, selection: Selection) -> list[UUID]:
    """Find the selected images, in the order in which they failed."""
    query = select(Image.id).where(Image.status == ImageStatus.ERROR)
    if selection.ids is not None:
        query = query.where(Image.id == func.any(selection.ids))
    if selection.code is not None:
        query = query.where(Image.error_code == selection.code)
    if selection.folder_id is not None:
        query = query.where(Image.folder_id == selection.folder_id)
    if selection.model_ids is not None:
        query = query.where(Image.model_id.in_(selection.model_ids))
    if selection.since is not None:
        query = query.where(Image.updated_at >= func.now() - selection.since)
    query = query.order_by(Image.updated_at, Image.id).limit(selection.limit)
    return list(await session.scalars(query))
