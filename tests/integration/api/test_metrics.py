"""Running services tell what `docs/metrics.md` says, no more and no less, in labels that are known beforehand."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

import httpx
import pytest
from fastapi import FastAPI

from api.main import create_app
from api.settings import ApiSettings
from common.error_metrics import CLASSES, CODES
from common.metrics import METHODS, OTHER, UNMATCHED
from common.status import ImageStatus
from embedder.main import create_app as create_embedder
from embedder.settings import Settings
from tests.fixtures import pictures
from tests.fixtures.metrics_document import documented
from tests.fixtures.scraping import Scrape, scrape
from tests.fixtures.uploading import settled, upload, uploaded_ids
from worker.context import WorkerContext

STATES = set(map(str, ImageStatus))
SERVICES = {"api", "worker", "embedder"}


def routes(app: FastAPI) -> set[str]:
    return {*app.openapi()["paths"], "/", UNMATCHED}


ALLOWED: Mapping[str, set[str]] = {
    "batcher": {
        *("admission", "claim", "embed", "fail", "fingerprint", "finish", "gate", "index", "keep_vectors", "labels"),
        *("reembed", "release"),
        *(f"embedder_{kind}_{priority}" for kind in ("image", "text") for priority in ("interactive", "bulk")),
    },
    "cache": {"text", "picture", "candidates"},
    "class": set(CLASSES),
    "code": {*CODES, OTHER},
    "dependency": {"database", "storage", "vectors", "embedder", "redis"},
    "from": {*STATES, "none"},
    "kind": {"image", "text", "images_resumed"},
    "level": {"process", "redis"},
    "method": {*METHODS, OTHER},
    "operation": {
        *("ensure", "upsert", "query", "fetch", "put", "get", "stream", "find", "ensure_bucket", "delete", "count"),
    },
    "outcome": {"done", "failed", "postponed", "hit", "miss", "unavailable", "written", "sent", "answered"},
    "path": routes(create_embedder(Settings())),
    "pool": {"api", "worker", "census"},
    "priority": {"interactive", "bulk"},
    "service": SERVICES,
    "stage": {"fetch", "decode", "fingerprint", "thumbnail", "embed", "index"},
    "state": {*STATES, "active", "building"},
    "status": {str(status.value) for status in HTTPStatus},
    "step": {"preprocess", "forward", "postprocess"},
    "to": STATES,
}
"""What a label may be, of those whose values a stranger might try to choose, or that are chosen in many places."""
CONFIGURED = {"model", "dim", "version", "python", "device", "precision", "address"}
"""Labels whose values are the operator's."""


def check_document(scraped: Scrape, *services: str) -> None:
    """Hold a scrape against the document, in both directions."""
    told = {name: metric for name, metric in documented().items() if set(metric.services) & set(services)}
    assert scraped.types == {name: metric.type for name, metric in told.items()}
    for sample, _ in scraped.values:
        assert {label for label, _ in sample.labels} == told[sample.metric].labels, sample


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
    assert (await client.get("/search/text", params={"q": "a red circle"})).is_success
    assert (await client.get(f"/images/{ids[0]}/similar")).is_success
    await client.get("/search/text", params={"q": ""})
    await client.get("/no/such/place")
    await client.delete("/search/text")
    await upload(client, b"no image")


async def test_a_scene_and_what_is_told_of_it(
    client: httpx.AsyncClient, worker: WorkerContext, embedder: httpx.AsyncClient, api_settings: ApiSettings
) -> None:
    before, embedder_before = await scrape(client), await scrape(embedder)

    await play(client)

    after, embedder_after = await scrape(client), await scrape(embedder)

    def grown(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    check_document(after, "api", "worker")
    check_labels(after, before, routes(create_app(api_settings)))
    assert grown("likeness_transitions_total", _from="none", to="created") == 6
    assert grown("likeness_transitions_total", _from="created", to="pending") == 6
    assert grown("likeness_transitions_total", _from="pending", to="embedding") == 6
    assert grown("likeness_transitions_total", _from="embedding", to="indexing") == 5
    assert grown("likeness_transitions_total", _from="indexing", to="done") == 5
    assert grown("likeness_transitions_total", _from="embedding", to="error") == 1
    assert grown("likeness_queue_wait_seconds_count") == 6
    assert grown("likeness_upload_to_searchable_seconds_count") == 5
    assert 0 < grown("likeness_queue_wait_seconds_sum") < grown("likeness_upload_to_searchable_seconds_sum")
    assert grown("likeness_errors_total", service="worker", _class="image") == 1
    assert grown("likeness_images_processed_total", outcome="failed") == 1
    assert grown("likeness_errors_total", service="api", code="unsupported_media") == 1
    assert grown("likeness_errors_total", service="api", _class="request") == 3, "no text, no such path, no such method"
    assert grown("likeness_hinted_total", outcome="sent") == 6
    assert grown("likeness_stage_duration_seconds_count", stage="index") == 5
    assert 1 <= grown("likeness_batch_wait_seconds_count", batcher="claim") <= 6
    assert grown("likeness_batch_size_sum", batcher="embed") == 5
    assert grown("likeness_vector_call_seconds_count", operation="query") >= 2
    assert grown("likeness_embedder_call_seconds_count", path="/encode/text") == 1
    assert grown("likeness_http_requests_total", route=UNMATCHED) == 1
    assert after.value("likeness_database_pool_size", pool="api") == 4
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
