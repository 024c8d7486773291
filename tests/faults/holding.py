"""Images that workers hold at a boundary, so that something else can happen to them at that moment."""

import asyncio
from collections.abc import Sequence

from tests.faults.checker import connect
from tests.faults.system import System
from tests.faults.traffic import Traffic, pictures

_LOOK_S = 0.05
_IN_STATE = "SELECT count(*) FROM images WHERE id = ANY($1::uuid[]) AND status = $2"


async def held(system: System, traffic: Traffic, boundary: str, number: int) -> Sequence[str]:
    """Upload pictures and wait until workers hold them all at a boundary."""
    system.orders.give(boundary, "hold")
    ids = await traffic.send(*pictures(number))
    state = "indexing" if boundary in ("embedded", "indexed") else "embedding"
    connection = await connect(system)
    try:
        async with asyncio.timeout(60):
            while await connection.fetchval(_IN_STATE, ids, state) < number:  # noqa: ASYNC110 - in the workers
                await asyncio.sleep(_LOOK_S)
    finally:
        await connection.close()
    return ids
