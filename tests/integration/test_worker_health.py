"""A worker's probes: alive while it runs, ready while all it needs answers, metrics for all it does."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from common.embedding import Readiness
from common.errors import DatabaseUnavailable, LikenessError, StorageUnavailable, VectorIndexUnavailable
from deploy.local.ports import choose_ports
from worker.context import WorkerContext
from worker.health import serve_health
from worker.settings import PipelineSettings


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
async def probe(needed: dict[str, Dependency]) -> AsyncIterator[httpx.AsyncClient]:
    (port,) = choose_ports(1)
    context = cast(WorkerContext, SimpleNamespace(**needed))
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
        "dependencies": {"database": "ok", "storage": "ok", "vectors": "ok", "embedder": "ok"},
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
    states = response.json()["dependencies"]
    assert states[name] == str(error)
    assert {state for other, state in states.items() if other != name} == {"ok"}
    assert (await probe.get("/health")).status_code == 200, "it is alive all the same"


async def test_a_worker_whose_embedder_starts_is_not_ready(
    probe: httpx.AsyncClient, needed: dict[str, Dependency]
) -> None:
    needed["embedder"].readiness = Readiness(status="starting", detail="loading weights")
    response = await probe.get("/ready")
    assert response.status_code == 503
    assert response.json()["dependencies"]["embedder"] == "loading weights"


async def test_metrics_are_those_of_a_worker(probe: httpx.AsyncClient) -> None:
    response = await probe.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for name in ("likeness_stage_duration_seconds", "likeness_images_processed", "likeness_images_in_flight"):
        assert f"# TYPE {name}" in response.text
