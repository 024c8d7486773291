"""The process that owns a cluster's embedded index; what it makes of vectors and filters, the contract suite tests."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.db.models import EmbeddingModel
from common.vectors.schema import indexed_fields
from deploy.cluster.conditions import read_filter
from deploy.cluster.vectors import VectorProcess
from worker.doctor.findings import Outcome
from worker.doctor.qdrant import judge_collection, judge_version

OWNER = "00000000-0000-0000-0000-000000000001"
CREATED = {"vectors": {"size": 4, "distance": "Cosine"}}


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[VectorProcess]:
    opened = VectorProcess(tmp_path, 60, {}, "secret")
    yield opened
    await opened.close()


def client_of(process: VectorProcess, key: str = "secret") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(process.app())
    return httpx.AsyncClient(transport=transport, base_url="http://vectors", headers={"api-key": key})


async def test_it_obeys_only_who_has_the_key(process: VectorProcess) -> None:
    async with client_of(process, "guessed") as stranger, client_of(process) as client:
        assert (await stranger.put("/collections/c", json=CREATED)).status_code == 401
        assert (await client.get("/collections")).json()["result"] == {"collections": []}
        assert (await stranger.get("/ready")).status_code == 200


async def test_collections_are_there_after_a_restart(process: VectorProcess, tmp_path: Path) -> None:
    async with client_of(process) as client:
        assert (await client.put("/collections/c", json=CREATED)).is_success
    await process.close()
    again = VectorProcess(tmp_path, 60, {}, "secret")
    await again.open()
    async with client_of(again) as client:
        described = (await client.get("/collections/c")).json()["result"]
    await again.close()
    assert described["config"]["params"]["vectors"] == CREATED["vectors"]


async def test_the_doctor_finds_all_it_asks_a_qdrant_server(process: VectorProcess) -> None:
    model = EmbeddingModel(name="m", pretrained="p", dim=4, preprocess_version=1, collection="c")
    async with client_of(process) as client:
        assert (await client.put("/collections/c", json=CREATED)).is_success
        version = (await client.get("/")).json()["version"]
        described = (await client.get("/collections/c")).json()["result"]
    findings = [judge_version(version), judge_collection(model, described, list(indexed_fields({})))]
    assert [finding.outcome for finding in findings] == [Outcome.OK] * 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/collections/none/points/count", {}, 404),
        ("/collections/c/facet", {"key": "tags", "limit": 5, "filter": {"must": []}}, 400),
        ("/collections/c/points/query", {"query": {"nearest": [1, 0]}, "limit": 5, "filter": None}, 400),
    ],
    ids=["no collection", "no owner", "no filter"],
)
async def test_what_it_refuses(process: VectorProcess, path: str, body: dict[str, Any], status: int) -> None:
    async with client_of(process) as client:
        assert (await client.put("/collections/c", json=CREATED)).is_success
        assert (await client.put("/collections/c", json=CREATED)).status_code == 400
        assert (await client.post(path, json=body)).status_code == status


@pytest.mark.parametrize(
    "condition",
    [{"key": "filename", "match": {"value": "x"}}, {"has_id": [OWNER]}, {"key": "owner_id", "match": {"value": 7}}],
    ids=["unknown field", "unknown kind", "no id"],
)
def test_filters_of_others_are_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"filter|UUID"):
        read_filter({"must": [condition]})
