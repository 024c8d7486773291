"""Running services tell what `docs/metrics.md` says, no more and no less, in labels that are known beforehand."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

import httpx
import pytest
from fastapi import FastAPI

from api.main import create_app
from api.settings import ApiSettings
from common.error_metrics import CODES
from common.metrics import OTHER, UNMATCHED
from common.status import ImageStatus
from embedder.main import create_app as create_embedder
from embedder.settings import Settings
from tests.fixtures import pictures
from tests.fixtures.metrics_document import documented, documented_labels
from tests.fixtures.scraping import Scrape, scrape
from tests.fixtures.uploading import settled, upload, uploaded_ids
from worker.context import WorkerContext

STATES = set(map(str, ImageStatus))


def routes(app: FastAPI) -> set[str]:
    return {*app.openapi()["paths"], "/", UNMATCHED}


CONFIGURED = {"model", "dim", "version", "python", "device", "precision", "address"}
"""Labels whose values are the operator's."""
ALLOWED: Mapping[str, set[str]] = {
    **{label: set(values) for label, values in documented_labels().items() if label not in CONFIGURED},
    "code": {*CODES, OTHER},
    "path": routes(create_embedder(Settings())),
    "status": {str(status.value) for status in HTTPStatus},
    "from": {*STATES, "none"},
    "to": {*STATES, "deleted"},
}
"""What a label may be: what the document says, or that of which it says that it is known."""
EVENTUAL = {
    *("likeness_errors_total", "likeness_retries_total", "likeness_left_behind_total"),
    *("likeness_http_requests_total", "likeness_embedder_dropped_items_total"),
}
"""Counters that appear with their first event; all others begin at zero."""


def check_document(scraped: Scrape, *services: str) -> None:
    """Hold a scrape against the document, in both directions."""
    told = {name: metric for name, metric in documented().items() if set(metric.services) & set(services)}
    assert scraped.types == {name: metric.type for name, metric in told.items()}
    for sample, _ in scraped.values:
        assert {label for label, _ in sample.labels} == told[sample.metric].labels, sample
    begun = {sample.metric for sample, _ in scraped.values}
    assert {name for name, kind in scraped.types.items() if kind == "counter"} - begun <= EVENTUAL


def check_labels(scraped: Scrape, before: Scrape, paths: set[str]) -> None:
    """Hold the labels of what a scene has changed against what they may be."""
    allowed = {**ALLOWED, "route": paths}
    seen = {label for sample in scraped.changed_since(before) for label in sample.labels}
    assert {(name, value) for name, value in seen if value not in allowed.get(name, {value})} == set()
    assert {name for name, _ in seen} - allowed.keys() <= CONFIGURED


@pytest.fixture
async def embedder(embedder_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=embedder_url, trust_env=False) as opened:
        yield opened


async def play(client: httpx.AsyncClient) -> None:
    """Five images become searchable, one can't be decoded; some searches, and some nonsense."""
    good = [pictures.jpeg(seed=seed) for seed in range(5)]
    broken = pictures.jpeg(400, 300)[:-3000]
    ids = await uploaded_ids(client, *good, broken)
    states = await settled(client, ids)
    assert sorted(state["status"] for state in states.values()) == ["done"] * 5 + ["error"]
    for _ in range(2):
        assert (await client.get("/search/text", params={"q": "a red circle"})).is_success
    assert (await client.get(f"/images/{ids[0]}/similar")).is_success
    await client.get("/search/text", params={"q": ""})
    await client.get("/no/such/place")
    await client.delete("/search/text")
    await upload(client, b"no image")
    assert (await client.delete(f"/images/{ids[1]}")).is_success


async def test_a_scene_and_what_is_told_of_it(
    client: httpx.AsyncClient, worker: WorkerContext, embedder: httpx.AsyncClient, api_settings: ApiSettings
) -> None:
    before, embedder_before = await scrape(client), await scrape(embedder)

    await play(client)

    after, embedder_after = await scrape(client), await scrape(embedder)

    def grown(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    check_document(before, "api", "worker")
    check_document(after, "api", "worker")
    check_labels(after, before, routes(create_app(api_settings)))
    moves = {
        ("none", "created"): 6,
        ("created", "pending"): 6,
        ("pending", "embedding"): 6,
        ("embedding", "indexing"): 5,
    }
    moves |= {("indexing", "done"): 5, ("embedding", "error"): 1, ("done", "deleted"): 1}
    found = {way: grown("likeness_transitions_total", _from=way[0], to=way[1]) for way in moves}
    assert found == moves
    assert grown("likeness_queue_wait_seconds_count") == 6
    assert grown("likeness_upload_to_searchable_seconds_count") == 5
    assert 0 < grown("likeness_queue_wait_seconds_sum") < grown("likeness_upload_to_searchable_seconds_sum")
    assert grown("likeness_errors_total", service="worker", _class="image") == 1
    assert grown("likeness_images_processed_total", outcome="failed") == 1
    assert grown("likeness_errors_total", service="api", code="unsupported_media") == 1
    assert grown("likeness_errors_total", service="api", _class="request") == 3, "no text, no such path, no such method"
    assert grown("likeness_hinted_total", outcome="sent") == 6
    assert grown("likeness_cache_lookups_total", cache="image", level="postgresql", outcome="miss") == 6
    assert grown("likeness_cache_lookups_total", cache="text", level="process", outcome="hit") == 1
    assert grown("likeness_stage_duration_seconds_count", stage="index") == 5
    assert 1 <= grown("likeness_batch_wait_seconds_count", batcher="claim") <= 6
    assert grown("likeness_batch_size_sum", batcher="embed") == 5
    assert grown("likeness_vector_call_seconds_count", operation="query") >= 2
    assert grown("likeness_embedder_call_seconds_count", path="/encode/text") == 1
    assert grown("likeness_http_requests_total", route=UNMATCHED) == 1
    assert after.value("likeness_database_pool_size", pool="api") == 4
    assert after.value("likeness_decode_pool_size") >= 1
    assert after.value("likeness_decode_pool_in_use") == after.value("likeness_decode_pool_waiting") == 0
    assert after.value("likeness_breaker_open", service="api", dependency="storage") == 0

    check_document(embedder_after, "embedder")
    check_labels(embedder_after, embedder_before, routes(create_embedder(Settings())))
    for step in ("preprocess", "forward"):
        assert embedder_after.total("likeness_embedder_step_seconds_count", step=step, kind="text") >= 1
    assert embedder_after.total("likeness_embedder_queue_seconds_count", kind="image", priority="bulk") >= 5
    models = (await embedder.get("/models")).json()["models"]
    served = {f"{model['name']}/{model['pretrained']}" for model in models}
    labels = {label for sample, _ in embedder_after.values for label in sample.labels}
    assert {value for name, value in labels if name == "model"} == served
