"""Which images an operator means: by state, id, code, folder, model, and how lately they came into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.attempts import Fence
from common.db.models import Image
from common.status import ImageStatus


@dataclass(frozen=True, slots=True)
class Selection:
    """Images in a state that meet every condition given; without any: all of them.

    Attributes:
        ids: only these images.
        code: only this error code.
        folder_id: only this folder.
        model_ids: only those whose last attempt was by one of these models.
        since: only what came into the state within this time.
        limit: at most so many, those that have been in it for longest.
        status: the state.
    """

    ids: Sequence[UUID] | None = None
    code: str | None = None
    folder_id: UUID | None = None
    model_ids: Sequence[int] | None = None
    since: timedelta | None = None
    limit: int | None = None
    status: ImageStatus = ImageStatus.ERROR


async def find_selected(session: AsyncSession, selection: Selection) -> list[Fence]:
    """Find the selected images with their last attempts, those first that changed longest ago."""
    query = select(Image.id, Image.attempt).where(Image.status == selection.status)
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
    return [Fence(*row) for row in await session.execute(query)]
