"""The walk over the points of a collection: does each belong to an image?"""

from collections.abc import Sequence
from uuid import UUID

from common.db import inventory
from common.db.engine import Database
from common.vectors.base import Collection, VectorIndex


class PointCheck:
    """Finds points that no image has, and removes them."""

    def __init__(self, database: Database, vectors: VectorIndex) -> None:
        self._database = database
        self._vectors = vectors

    async def check(self, page: Sequence[UUID]) -> list[UUID]:
        """Return the ids of a page that neither an image nor a tombstone has.

        A row is committed long before its point is written, ids are never used twice, and a deleted image leaves a
        tombstone whose purge removes the point: what this returns nobody will ever own.
        """
        async with self._database.begin() as session:
            ownerless = await inventory.find_ownerless_points(session, page)
        return [id_ for id_ in page if id_ in ownerless]

    async def remove(self, collection: Collection, ids: Sequence[UUID]) -> None:
        """Remove such points, after another look at the rows."""
        await self._vectors.delete(collection, await self.check(ids))
