"""An image that kills every worker that touches it, on a real PostgreSQL and with processes that really die."""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from common.db import lifecycle
from common.db.engine import Database
from common.db.models import TRIES
from tests.fixtures.rows import activate_model, expire_lease, load, new_image, record_pending

WORKER = """
import asyncio, os, signal, sys
from datetime import timedelta
from uuid import UUID
from pydantic import SecretStr
from common.db import lifecycle
from common.db.engine import Database
from common.settings import DatabaseSettings
from tests.fakes.pipelines import StepStage
from tests.fixtures.rows import unit_vector
from worker.leases import Leases
from worker.moves import Moves
from worker.pipeline import Pipeline

async def main(url, poison):
    database = Database(DatabaseSettings(url=SecretStr(url)))
    moves = Moves(database, f"worker-{os.getpid()}")

    async def embed(work):
        if work.claim.id == UUID(poison):
            os.kill(os.getpid(), signal.SIGKILL)
        work.indexed = {model.id for model in work.models}
        await moves.keep_vectors(work.claim, dict.fromkeys(work.indexed, unit_vector()))

    pipeline = Pipeline([StepStage("embed", embed)], moves, Leases(moves), images_in_flight=64)
    async with database.begin() as session:
        due = await lifecycle.find_due(session, overdue=timedelta(0), limit=64)
    await pipeline.process_all(due)
    await moves.close()
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def live(url: str, poison: UUID) -> int:
    """Let a worker process everything that is due; return how it ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, url, str(poison)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def outlive(database: Database) -> None:
    """Let the leases of a dead worker run out, and give up what has no try left, as the sweep does."""
    async with database.begin() as session:
        await session.execute(
            text("UPDATE images SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")
        )
        await lifecycle.bury(session)


async def is_work_left(database: Database) -> bool:
    async with database.begin() as session:
        return bool(await lifecycle.find_due(session, overdue=timedelta(0), limit=1))


async def test_poison_takes_its_neighbours_down_twice_and_then_dies_alone(
    database: Database, database_url: str
) -> None:
    await activate_model(database)
    poison, *innocent = await record_pending(database, *(new_image() for _ in range(8)))
    for image in (poison, *innocent):  # one worker has died already; a process less to start
        await expire_lease(database, image.id, tries_left=TRIES - 1)

    ends = []
    while await is_work_left(database):
        ends.append(await live(database_url, poison.id))
        await outlive(database)

    assert ends.count(-signal.SIGKILL) == TRIES - 1
    buried = await load(database, poison.id)
    assert (buried.status, buried.error_code, buried.tries_left) == ("error", "poison_suspected", 0)
    for row in [await load(database, image.id) for image in innocent]:
        assert row.status == "done"
        assert row.tries_left == TRIES - 3, "two deaths and the run that succeeded; no later death was theirs"
