"""What is told of the database: state changes that were committed, and how much of the pool is in use."""

from prometheus_client import REGISTRY
from pydantic import SecretStr

from common.db import lifecycle
from common.db.attempts import LEASE, Finish
from common.db.engine import Database
from common.settings import DatabaseSettings
from tests.fixtures.rows import activate_model, new_image, record, record_pending


def moves(before: str, after: str) -> float:
    return REGISTRY.get_sample_value("likeness_transitions_total", {"from": before, "to": after}) or 0


async def test_moves_are_counted_once_they_are_committed(database: Database) -> None:
    await activate_model(database)
    rows = await record(database, new_image(), new_image())
    stored = moves("created", "pending")
    async with database.begin() as session:
        await lifecycle.mark_stored(session, [row.id for row in rows])
        await session.rollback()
    assert moves("created", "pending") == stored, "it was rolled back"
    async with database.begin() as session:
        await lifecycle.mark_stored(session, [row.id for row in rows])
        assert moves("created", "pending") == stored, "nothing has happened yet"
    assert moves("created", "pending") == stored + 2


async def test_new_rows_are_moves_from_nothing(database: Database) -> None:
    born = moves("none", "created")
    image = new_image()
    await record(database, image, new_image())
    await record(database, image)
    assert moves("none", "created") == born + 2, "the same bytes again are no new image"


async def test_a_claim_tells_how_long_its_image_was_due(database: Database) -> None:
    await activate_model(database)
    (row,) = await record_pending(database, new_image())
    async with database.begin() as session:
        (claim,) = await lifecycle.claim(session, [row.id], "tests", lease=-LEASE)
    assert claim.waited_s is not None
    assert claim.waited_s >= 0
    async with database.begin() as session:
        (again,) = await lifecycle.claim(session, [row.id], "tests")
    assert again.waited_s is None, "it was somebody's"


async def test_only_the_first_time_is_an_image_new(database: Database) -> None:
    model = await activate_model(database)
    (row,) = await record_pending(database, new_image())
    new = []
    for _ in range(2):
        async with database.begin() as session:
            (claim,) = await lifecycle.claim(session, [row.id], "tests")
            await lifecycle.advance(session, [claim.fence])
            finish = Finish(claim.fence, claim.payload_version, (model.id,))
            new.append((await lifecycle.finish(session, [finish]))[row.id].first_done_s is not None)
            await lifecycle.redo(session, [claim.fence], "tests", "vector_missing")
    assert new == [True, False]


async def test_a_pool_tells_how_much_of_it_is_in_use(database_url: str) -> None:
    def told(what: str) -> float:
        return REGISTRY.get_sample_value(f"likeness_database_pool_{what}", {"pool": "measured"}) or 0

    database = Database(DatabaseSettings(url=SecretStr(database_url), pool_size=3), name="measured")
    async with database.begin(), database.read():
        assert (told("size"), told("in_use"), told("waiting")) == (3, 2, 0)
    assert (told("in_use"), told("wait_seconds_count")) == (0, 2)
    await database.close()
    assert told("size") == 0
