"""Rows for the command line to work on."""

from uuid import UUID, uuid4

from sqlalchemy import text

from common.db import images, lifecycle
from common.db.engine import Database
from common.db.images import NewImage
from common.db.models import LOCAL_FOLDER_ID, LOCAL_OWNER_ID

NOWHERE = "redis://127.0.0.1:1/0"


async def add_images(
    database: Database, number: int, status: str = "error", code: str = "image_corrupt", folder: UUID = LOCAL_FOLDER_ID
) -> list[UUID]:
    """Record images and put them into a state, however the state machine feels about it."""
    new = [
        NewImage(LOCAL_OWNER_ID, folder, uuid4().hex * 2, "sha256/…", f"[red]{n}.jpg", "image/jpeg", 10, 1, 1)
        for n in range(number)
    ]
    async with database.begin() as session:
        recorded = await images.record(session, new)
        ids = [row.image.id for row in recorded if row is not None]
        await lifecycle.mark_stored(session, ids)
        await session.execute(
            text(
                "UPDATE images SET status = :status, error_code = CASE WHEN :status = 'error' THEN :code END, "
                "lease_until = CASE WHEN :status IN ('embedding', 'indexing') THEN now() - interval '1 min' END "
                "WHERE id = ANY(:ids)"
            ),
            {"status": status, "code": code, "ids": ids},
        )
    return ids


async def statuses(database: Database) -> dict[UUID, str]:
    """Return the state of every image."""
    async with database.begin() as session:
        rows = await session.execute(text("SELECT id, status FROM images"))
        return {row.id: row.status for row in rows}
