"""Which processes a cluster on one machine has, and what they are told."""

from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.assembly import choose_index
from deploy.cluster.services import create_apis, create_vectors, create_workers
from deploy.cluster.settings import ClusterSettings, VectorProcessSettings
from deploy.local.home import Home
from deploy.local.launcher import Launcher
from deploy.local.service import NotReady
from deploy.local.services import create_embedder
from worker.settings import WorkerSettings

SETTINGS = {"DATABASE__URL": "postgresql+asyncpg://ours", "QDRANT__URL": "http://127.0.0.1:20005"}


def test_all_know_all_embedders_and_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT__PATH", "/theirs")
    monkeypatch.setenv("QDRANT__URL", "http://theirs")
    embedders = [create_embedder(20_001, {}, "embedder-1"), create_embedder(20_002, {}, "embedder-2")]

    apis = create_apis([8000, 8001], SETTINGS, embedders)
    workers = create_workers(2, SETTINGS, embedders)

    assert [service.name for service in (*apis, *workers)] == ["api-1", "api-2", "worker-1", "worker-2"]
    for environment in [service.environment() for service in (*apis, *workers)]:
        assert environment["EMBEDDER__URL"] == "http://127.0.0.1:20001,http://127.0.0.1:20002"
        assert environment["QDRANT__URL"] == SETTINGS["QDRANT__URL"]
        assert environment["QDRANT__PATH"] == "", "and so has no other place name one"
    assert [api.environment()["HTTP__PORT"] for api in apis] == ["8000", "8001"]
    assert len({worker.environment()["WORKER__HEALTH_PORT"] for worker in workers}) == 2


def test_apis_drain_for_a_moment_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP__DRAIN_S", raising=False)
    assert create_apis([8000], SETTINGS, [])[0].environment()["HTTP__DRAIN_S"] == "1.0"
    monkeypatch.setenv("HTTP__DRAIN_S", "7")
    assert create_apis([8000], SETTINGS, [])[0].environment()["HTTP__DRAIN_S"] == "7"


def test_the_index_is_asked_by_one_process() -> None:
    environment = create_vectors(20_003, Path("/data/qdrant"), "key").environment()
    assert (environment["QDRANT__PATH"], environment["QDRANT__API_KEY"]) == ("/data/qdrant", "key")
    assert environment["QDRANT__URL"] == "", "and so has no other place name one"


@pytest.mark.parametrize("theirs", ["QDRANT__PATH=/theirs", "QDRANT__URL=http://theirs"])
def test_an_index_in_the_users_env_file_is_not_a_second_one(
    theirs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "theirs").write_text(theirs)
    monkeypatch.setenv("LIKENESS_ENV_FILE", str(tmp_path / "theirs"))
    (worker,) = create_workers(1, SETTINGS, [create_embedder(20_001, {})])
    vectors = create_vectors(20_003, Path("/data/qdrant"), "key")
    for service, reads in ((worker, WorkerSettings), (vectors, VectorProcessSettings)):
        with monkeypatch.context() as started:
            for name, value in service.settings.items():
                started.setenv(name, value)
            reads()


async def test_a_worker_waits_for_one_embedder_and_the_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("deploy.cluster.services._LOOK_S", 0.001)
    asked: list[str] = []

    def service(name: str, ready_after: float) -> Any:
        made = create_embedder(20_004, {}, name)

        async def probe() -> None:
            asked.append(name)
            if asked.count(name) <= ready_after:
                raise NotReady

        monkeypatch.setattr(made, "probe", probe)
        return made

    embedders = [service("never", float("inf")), service("soon", 2)]
    (worker,) = create_workers(1, SETTINGS, embedders, [service("index", 1)])
    await worker.prepare(Launcher(tmp_path, 0))

    assert [asked.count(name) for name in ("index", "never", "soon")] == [2, 3, 3]


def test_sizes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER__EMBEDDERS", "3")
    size = ClusterSettings().cluster
    assert (size.apis, size.workers, size.embedders) == (2, 2, 3)


def test_the_index_is_a_server_where_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QDRANT__URL", raising=False)
    monkeypatch.delenv("QDRANT_URL", raising=False)
    home = Home(tmp_path / "home", min_free_bytes=0)
    ((process,), settings) = choose_index(home)
    assert settings["QDRANT__URL"] == process.url
    assert settings["QDRANT__API_KEY"] == process.environment()["QDRANT__API_KEY"] != ""

    monkeypatch.setenv("QDRANT_URL", "http://qdrant:6333")
    assert choose_index(home) == ([], {"QDRANT__URL": "http://qdrant:6333"})
