"""What other orders than by likeness look at, of many images at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.models import Image


@dataclass(frozen=True, slots=True)
class Traits:
    """What an image's place among others may depend on."""

    sha256: str
    created_at: datetime


async def now(session: AsyncSession) -> datetime:
    """Return the moment, by the clock that the rows' times are of."""
    moment: datetime = (await session.execute(select(func.now()))).scalar_one()
    return moment


async def find(session: AsyncSession, owner_id: UUID, ids: Sequence[UUID], as_of: datetime) -> dict[UUID, Traits]:
    """Return the traits of those of the owner's images that exist and were indexed by then, by id."""
    query = select(Image.id, Image.sha256, Image.created_at).where(
        Image.id.in_(ids), Image.owner_id == owner_id, Image.indexed_at <= as_of
    )
    return {id_: Traits(sha256, created_at) for id_, sha256, created_at in await session.execute(query)}
