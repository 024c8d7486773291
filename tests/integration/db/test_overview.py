"""Whether too many images wait: those that wait and those in work count, up to the limit and no further."""

import pytest
from sqlalchemy import text

from common.db import lifecycle, overview
from common.db.engine import Database
from tests.fixtures.rows import new_image, record, record_done, record_pending


@pytest.mark.parametrize(("most", "exceeded"), [(0, True), (3, True), (4, False), (100, False)])
async def test_what_waits_and_what_is_in_work_counts(database: Database, most: int, exceeded: bool) -> None:
    pending = await record_pending(database, *(new_image() for _ in range(4)))
    await record(database, new_image())
    await record_done(database, new_image())
    async with database.begin() as session:
        claims = await lifecycle.claim(session, [image.id for image in pending[:2]], "tests")
        await lifecycle.advance(session, [claims[0].fence])
        assert await overview.backlog_exceeds(session, most) is exceeded


async def test_nothing_waits_in_an_empty_database(database: Database) -> None:
    async with database.begin() as session:
        assert not await overview.backlog_exceeds(session, 0)


async def test_the_limit_bounds_what_is_read(database: Database) -> None:
    """By the partial indexes, and never all of a long backlog."""
    async with database.begin() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(
            await session.scalars(text(f"EXPLAIN {overview._MORE_THAN.text}"), {"most": 100_000, "limit": 100_001})
        )
    for index in ("ix_images_downloads", "ix_images_pending", "ix_images_leased"):
        assert index in plan
    assert plan.count("Limit") >= 2
