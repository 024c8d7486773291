"""What each process of the system tells of itself: what the document says, and together every image once."""

import asyncio

import httpx

from common.status import ImageStatus
from tests.faults.checker import settle
from tests.faults.system import System
from tests.faults.traffic import Traffic, pictures
from tests.fixtures.metrics_document import documented
from tests.fixtures.scraping import Scrape, scrape


async def test_processes_tell_what_is_documented_and_nothing_twice(system: System, traffic: Traffic) -> None:
    await traffic.send(*pictures(4))
    await settle(system, traffic.accepted)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        api = await scrape(client, f"{system.client.base_url}/metrics")
        async with asyncio.timeout(60):
            while True:
                workers = [await scrape(client, f"{worker.service.url}/metrics") for worker in system.workers]
                if sum(worker.value("likeness_images", state="done") for worker in workers) >= 4:
                    break
                await asyncio.sleep(0.1)
    for service, scraped in (("api", api), *(("worker", worker) for worker in workers)):
        told = {name: metric.type for name, metric in documented().items() if service in metric.services}
        assert scraped.types == told
    assert [len(told_states(worker)) for worker in workers] in ([len(ImageStatus), 0], [0, len(ImageStatus)])
    stored = api.value("likeness_transitions_total", _from="created", to="pending")
    assert stored >= 4
    finished = sum(worker.total("likeness_transitions_total", to="done") for worker in workers)
    assert finished >= 4


def told_states(scraped: Scrape) -> set[str]:
    labels = {label for sample, _ in scraped.values if sample.metric == "likeness_images" for label in sample.labels}
    return {value for _, value in labels}
