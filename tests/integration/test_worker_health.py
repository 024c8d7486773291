"""A worker's probes: alive while it runs, ready while all it needs answers, metrics for all it does."""

from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import structlog

from common.breakers import EMBEDDER, STORAGE, VECTORS, Breakers
from common.embedding import Readiness
from common.errors import (
    DatabaseUnavailable,
    EmbedderUnavailable,
    LikenessError,
    StorageUnavailable,
    VectorIndexUnavailable,
)
from common.settings import BreakerSettings
from deploy.local.ports import choose_ports
from worker.context import WorkerContext
from worker.health import serve_health
from worker.settings import PipelineSettings

FAILURES = {STORAGE: StorageUnavailable, VECTORS: VectorIndexUnavailable, EMBEDDER: EmbedderUnavailable}


class Dependency:
    """Answers, or fails with `error`."""

    def __init__(self) -> None:
        self.error: LikenessError | None = None
        self.readiness = Readiness(status="ready", detail="serving")

    async def ping(self) -> None:
        if self.error is not None:
            raise self.error

    async def ready(self) -> Readiness:
        return self.readiness


@pytest.fixture
def needed() -> dict[str, Dependency]:
    return {name: Dependency() for name in ("database", "storage", "vectors", "embedder")}


@pytest.fixture
async def breakers() -> AsyncIterator[Breakers]:
    made = Breakers("tests", BreakerSettings(failures=1, pause_s=3600))
    for name, failure in FAILURES.items():
        made.create(name, failure)
    yield made
    await made.close()


@pytest.fixture
async def probe(needed: dict[str, Dependency], breakers: Breakers) -> AsyncIterator[httpx.AsyncClient]:
    (port,) = choose_ports(1)
    context = cast(WorkerContext, SimpleNamespace(**needed, breakers=breakers))
    async with (
        serve_health(context, PipelineSettings(health_port=port)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


async def test_a_worker_with_all_it_needs_is_ready(probe: httpx.AsyncClient) -> None:
    response = await probe.get("/ready")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "dependencies": [
            {"name": "database", "ok": True, "needed": True, "detail": "", "breaker": None},
            {"name": "storage", "ok": True, "needed": True, "detail": "", "breaker": "closed"},
            {"name": "vectors", "ok": True, "needed": True, "detail": "", "breaker": "closed"},
            {"name": "embedder", "ok": True, "needed": True, "detail": "serving", "breaker": "closed"},
        ],
        "model": None,
        "building": [],
        "demo": False,
    }


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("database", DatabaseUnavailable("PostgreSQL: refused")),
        ("storage", StorageUnavailable("object store: AccessDenied")),
        ("vectors", VectorIndexUnavailable("Qdrant did not answer")),
    ],
)
async def test_a_worker_that_lacks_something_says_what(
    probe: httpx.AsyncClient, needed: dict[str, Dependency], name: str, error: LikenessError
) -> None:
    needed[name].error = error
    response = await probe.get("/ready")
    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert {item["name"]: item["detail"] for item in response.json()["dependencies"] if not item["ok"]} == {
        name: str(error)
    }
    assert (await probe.get("/health")).status_code == 200, "it is alive all the same"


async def test_a_worker_whose_embedder_starts_is_not_ready(
    probe: httpx.AsyncClient, needed: dict[str, Dependency]
) -> None:
    needed["embedder"].readiness = Readiness(status="starting", detail="loading weights")
    response = await probe.get("/ready")
    assert response.status_code == 503
    (embedder,) = [item for item in response.json()["dependencies"] if item["name"] == "embedder"]
    assert (embedder["ok"], embedder["detail"]) == (False, "loading weights")


@pytest.mark.parametrize("name", sorted(FAILURES))
async def test_a_worker_with_an_open_breaker_is_not_ready(
    probe: httpx.AsyncClient, breakers: Breakers, name: str
) -> None:
    with suppress(FAILURES[name]), breakers[name].guard():
        raise FAILURES[name]("refused")
    response = await probe.get("/ready")
    assert response.status_code == 503
    assert {item["name"]: item["breaker"] for item in response.json()["dependencies"] if not item["ok"]} == {
        name: "open"
    }


async def test_probes_are_answered_with_an_id_and_logged_at_debug(probe: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as logs:
        response = await probe.get("/health", headers={"X-Request-ID": "r-1"})
    assert response.headers["x-request-id"] == "r-1"
    assert [(line["event"], line["route"], line["log_level"]) for line in logs] == [("request", "/health", "debug")]


async def test_metrics_are_those_of_a_worker(probe: httpx.AsyncClient) -> None:
    response = await probe.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for name in ("likeness_stage_duration_seconds", "likeness_images_processed", "likeness_images_in_flight"):
        assert f"# TYPE {name}" in response.text
