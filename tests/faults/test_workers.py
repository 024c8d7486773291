"""Workers that die or freeze, with a second one beside them."""

import asyncio
from time import monotonic

import httpx

from common.tls import verify
from tests.faults.boundaries import BOUNDARIES
from tests.faults.checker import settle
from tests.faults.conftest import Verdict
from tests.faults.processes import Module, Process
from tests.faults.system import System
from tests.faults.traffic import LONG, Traffic, pictures

# From `claimed` to `embedded` nothing is written to the row: what one of these leaves, all leave.
DEADLY = BOUNDARIES if LONG else ("thumbnailed", "embedded", "indexed")


async def test_killed_at_every_stage_boundary(system: System, traffic: Traffic, verdict: Verdict) -> None:
    for boundary in DEADLY:
        system.orders.give(boundary, "kill")
        await traffic.send(*pictures(4))
        worker = system.workers[await system.orders.taken(boundary, "kill")]
        await worker.wait()
        killed = monotonic()
        # No image sees more deaths than it has tries.
        await asyncio.gather(worker.start(), settle(system, traffic.accepted))
    outcome = await verdict(since=killed)
    assert outcome.tries_spent >= len(DEADLY)


async def test_frozen_past_its_lease(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """What it writes when it goes on hits no row: another worker has taken the images over and finished them."""
    for boundary in ("thumbnailed", "indexed"):
        before = [await ownerships_lost(worker) for worker in system.workers]
        system.orders.give(boundary, "stop")
        await traffic.send(*pictures(8))
        number = await system.orders.taken(boundary, "stop")
        frozen = monotonic()
        await settle(system, traffic.accepted)
        healed_s = monotonic() - frozen
        system.workers[number].resume()
        async with asyncio.timeout(60):
            while await ownerships_lost(system.workers[number]) == before[number]:  # noqa: ASYNC110 - in its process
                await asyncio.sleep(0.05)
    outcome = await verdict(since=monotonic() - healed_s)
    assert outcome.tries_spent > 0


async def ownerships_lost(worker: Process[Module]) -> float:
    """Return how many attempts of a worker found that their image was another's."""
    url = f"{worker.service.url}/metrics"
    async with httpx.AsyncClient(trust_env=False, timeout=60, verify=verify(url)) as client:
        metrics = (await client.get(url)).text
    wanted = 'likeness_images_processed_total{outcome="ownership_lost"} '
    found = [line.removeprefix(wanted) for line in metrics.splitlines() if line.startswith(wanted)]
    return float(found[0]) if found else 0
