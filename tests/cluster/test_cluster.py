"""Several processes of each service: work spreads, any one may die, and all may be replaced while people search."""

import asyncio
from time import monotonic

import httpx

from common.tls import verify
from deploy.local.services import PythonService
from tests.cluster.conftest import Note
from tests.cluster.searches import Searches
from tests.cluster.system import Cluster
from tests.faults.checker import check, settle
from tests.faults.processes import Process
from tests.faults.traffic import LONG, Traffic, pictures

_DEADLINE_S = 120
_LOOK_S = 0.1
_PAUSE_S = 0.3


async def test_work_spreads(cluster: Cluster, traffic: Traffic, note: Note) -> None:
    async with asyncio.timeout(_DEADLINE_S), traffic.flowing(pause_s=0):
        while not await spread(cluster):  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(_LOOK_S)
    outcome = await check(cluster, traffic.accepted, healing_since=monotonic())
    note(uploads=len(traffic.accepted), failed=len(traffic.refused), lost=len(outcome.lost), tries=outcome.tries_spent)
    assert outcome.clean, outcome
    assert (traffic.refused, outcome.tries_spent) == (set(), 0)


async def spread(cluster: Cluster) -> bool:
    """Tell whether every process has done something."""
    embedded = [float(await read(embedder, "/pictures")) for embedder in cluster.embedders]
    finished = [await finished_images(worker) for worker in cluster.workers]
    return len(cluster.balancer.answered) == len(cluster.apis) and min(*embedded, *finished) > 0


async def finished_images(worker: Process[PythonService]) -> float:
    """Return how many images a worker has brought to `done`."""
    wanted = 'likeness_images_processed_total{outcome="done"} '
    found = [line for line in (await read(worker, "/metrics")).splitlines() if line.startswith(wanted)]
    return float(found[0].removeprefix(wanted)) if found else 0


async def read(process: Process[PythonService], path: str) -> str:
    """Return what a process answers."""
    url = process.service.url
    async with httpx.AsyncClient(trust_env=False, timeout=60, verify=verify(url)) as client:
        return (await client.get(f"{url}{path}")).text


async def test_killing_any_one_loses_nothing(cluster: Cluster, traffic: Traffic, note: Note) -> None:
    victims = [cluster.apis[0], cluster.workers[0], cluster.embedders[0], cluster.vectors]
    async with traffic.flowing(_PAUSE_S):
        for victim in victims:
            await more(traffic)
            await victim.kill()
            await more(traffic)
            if LONG or victim is cluster.vectors:  # the others are started again in the next test, if ever
                await victim.start()
    outcome = await check(cluster, traffic.accepted, healing_since=monotonic())
    note(processes=len(victims), uploads=len(traffic.accepted), lost=len(outcome.lost), tries=outcome.tries_spent)
    assert outcome.clean, outcome


async def more(traffic: Traffic, number: int = 3) -> None:
    """Wait until so many more pictures have been accepted."""
    wanted = len(traffic.accepted) + number
    async with asyncio.timeout(_DEADLINE_S):
        while len(traffic.accepted) < wanted:  # noqa: ASYNC110 - a list
            await asyncio.sleep(_LOOK_S)


async def test_a_rolling_restart_fails_no_request(cluster: Cluster, traffic: Traffic, note: Note) -> None:
    """Processes come and go, one at a time. In the short form, those that were killed come, and the others go."""
    ids = await traffic.send(*pictures(3))
    await settle(cluster, ids)
    searches = Searches(cluster.client, ids[0])
    replaced = 0
    async with traffic.flowing(_PAUSE_S), searches.flowing():
        for first, *others in (cluster.apis, cluster.workers, cluster.embedders):
            if not first.alive:
                await first.start()
            for process in [first, *others] if LONG else others:
                await more(traffic)
                await process.stop()
                await more(traffic)
                replaced += 1
                if LONG:
                    await process.start()
    outcome = await check(cluster, traffic.accepted, healing_since=monotonic())
    note(
        processes=replaced,
        uploads=len(traffic.accepted),
        searches=searches.answered,
        failed=len(traffic.refused) + len(searches.failed),
        lost=len(outcome.lost),
        tries=outcome.tries_spent,
    )
    assert outcome.clean, outcome
    assert (traffic.refused, searches.failed, outcome.tries_spent) == (set(), [], 0)
