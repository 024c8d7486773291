"""Two things at once to one image: deleted, edited, requeued or uploaded again while a worker has it."""

import asyncio

from tests.faults.checker import connect, settle
from tests.faults.conftest import Verdict
from tests.faults.holding import held
from tests.faults.system import System
from tests.faults.traffic import Traffic, pictures

_LOOK_S = 0.05


async def test_deleted_while_indexed(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """The worker writes the point of an image that is gone; the tombstone takes it away again."""
    ids = await held(system, traffic, "embedded", 6)
    deleted = ids[:3]
    for id_ in deleted:
        (await system.client.delete(f"/images/{id_}")).raise_for_status()
    system.orders.clear()
    await settle(system, ids[3:])
    await bury(system)
    outcome = await verdict(deleted=deleted)
    assert outcome.tries_spent == 0


async def test_requeued_while_leased(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """Nobody takes an image from a worker that has it."""
    ids = await held(system, traffic, "decoded", 3)
    for id_ in ids:
        answer = await system.client.post(f"/images/{id_}/requeue")
        assert (answer.status_code, answer.json()["code"]) == (409, "image_not_failed")
    system.orders.clear()
    outcome = await verdict()
    assert outcome.tries_spent == 0


async def test_edited_while_indexed(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """The point is written with the old category, and then follows the row."""
    for number, id_ in enumerate(await held(system, traffic, "embedded", 4)):
        edit = {"category": f"number {number}", "tags": ["edited"]}
        (await system.client.patch(f"/images/{id_}", json=edit)).raise_for_status()
    system.orders.clear()
    outcome = await verdict()
    assert outcome.tries_spent == 0


async def test_uploaded_forty_times_at_once(system: System, traffic: Traffic, verdict: Verdict) -> None:
    (picture,) = pictures(1)
    answers = await asyncio.gather(*(traffic.send(picture) for _ in range(40)))
    assert len({id_ for (id_,) in answers}) == 1
    outcome = await verdict()
    assert (outcome.images, outcome.tries_spent) == (1, 0)


async def bury(system: System) -> None:
    """Let the time pass for which tombstones wait, and wait until the sweep has purged what they name."""
    connection = await connect(system)
    try:
        await connection.execute("UPDATE tombstones SET purge_after = now()")
        async with asyncio.timeout(60):
            while await connection.fetchval("SELECT count(*) FROM tombstones"):  # noqa: ASYNC110 - by a worker
                await asyncio.sleep(_LOOK_S)
    finally:
        await connection.close()
