"""The walk over the objects: does each belong to an image?"""

from collections.abc import Sequence

from common.db import inventory, quarantine
from common.db.engine import Database
from common.storage import ListedObject, hash_of


class ObjectCheck:
    """Puts objects that no image has into quarantine, and takes out those that have one again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self, page: Sequence[ListedObject]) -> list[str]:
        """Return the keys of a page that neither an image nor a tombstone has.

        An upload records its row before it stores its object, so the row of an object that was listed is there. Keys
        that are no content hashes are not ours, and left alone.
        """
        hashes = {item.key: sha256 for item in page if (sha256 := hash_of(item.key)) is not None}
        async with self._database.begin() as session:
            ownerless = await inventory.find_ownerless_hashes(session, set(hashes.values()))
            orphans = [key for key, sha256 in hashes.items() if sha256 in ownerless]
            await quarantine.add(session, orphans)
            await quarantine.remove(session, [key for key, sha256 in hashes.items() if sha256 not in ownerless])
        return orphans
