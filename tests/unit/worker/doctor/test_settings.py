"""Which settings are examined: the environment's or, where it names no database, the running local stack's."""

import json
from pathlib import Path

import pytest

from common.connection_file import FILE_NAME
from deploy.cluster.services import create_apis
from deploy.local.services import create_app, create_embedder
from worker.doctor.findings import Outcome
from worker.doctor.settings import read_configuration

STORES = {"DATABASE__URL": "postgresql+asyncpg://likeness:hush@127.0.0.1:5/likeness", "S3__BUCKET": "local"}
APP = create_app(8000, STORES, create_embedder(7, {}), Path("/data/qdrant"))
LOCAL = {"LIKENESS_URL": APP.url, **APP.settings}  # as the stack writes it down


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in LOCAL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIKENESS_HOME", str(tmp_path))
    return tmp_path


def test_the_local_stack_where_one_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    monkeypatch.setenv("S3__BUCKET", "mine")
    found = read_configuration()
    assert found.settings is not None
    assert (found.settings.s3.bucket, found.settings.embedder.url) == ("mine", LOCAL["EMBEDDER__URL"])
    assert (found.settings.qdrant.path, found.settings.qdrant.url) == (Path("/data/qdrant"), None)
    assert (found.api_url, found.home) == (LOCAL["LIKENESS_URL"], home)
    assert found.diagnosis.findings[0].outcome is Outcome.OK


@pytest.mark.parametrize("of_cluster", [False, True], ids=["run", "cluster"])
def test_what_a_stack_really_gives_its_services(home: Path, of_cluster: bool) -> None:
    stores, embedder = {"DATABASE__URL": LOCAL["DATABASE__URL"]}, create_embedder(7, {})
    if of_cluster:
        (service,) = create_apis([8000], {"QDRANT__URL": "http://127.0.0.1:9", **stores}, [embedder])
    else:
        service = create_app(8000, stores, embedder, Path("/data/qdrant"))
    (home / FILE_NAME).write_text(json.dumps({"LIKENESS_URL": LOCAL["LIKENESS_URL"], **service.settings}))
    found = read_configuration()
    assert found.diagnosis.findings[0].outcome is Outcome.OK, found.diagnosis
    assert found.settings is not None
    index = (None, "http://127.0.0.1:9") if of_cluster else (Path("/data/qdrant"), None)
    assert (found.settings.qdrant.path, found.settings.qdrant.url) == index


def test_an_index_of_the_environment_s_own_goes_before_the_local_stack_s(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    monkeypatch.setenv("QDRANT__URL", "http://qdrant:6333")
    settings = read_configuration().settings
    assert settings is not None
    assert (settings.qdrant.path, settings.qdrant.url) == (None, "http://qdrant:6333")


def test_the_environment_where_it_names_a_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    monkeypatch.setenv("DATABASE__URL", "postgresql+asyncpg://likeness@elsewhere/likeness")
    found = read_configuration()
    assert found.settings is not None
    assert found.settings.s3.bucket == "likeness"
    assert (found.api_url, found.home) == (None, None)


def test_where_settings_are_from_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "env").write_text("DATABASE__URL=postgresql+asyncpg://likeness@elsewhere/likeness")
    (home / "likeness.yaml").write_text("s3: {bucket: mine}\ndatabase: {pool_size: 3}")
    monkeypatch.setenv("LIKENESS_ENV_FILE", str(home / "env"))
    monkeypatch.setenv("LIKENESS_CONFIG", str(home / "likeness.yaml"))
    diagnosis = read_configuration().diagnosis
    assert diagnosis.target == f"{home}/env, {home}/likeness.yaml"
    assert diagnosis.findings[0].seen == f"read from {home}/env, then {home}/likeness.yaml"

    monkeypatch.setenv("REDIS__URL", "redis://elsewhere")
    seen = read_configuration().diagnosis.findings[0].seen
    assert seen == f"read from the environment, then {home}/env, then {home}/likeness.yaml"

    monkeypatch.setenv("LIKENESS_ENV_FILE", "")
    assert read_configuration().diagnosis.findings[0].outcome is Outcome.WARNING, "the database is named nowhere"


def test_neither_of_them(home: Path) -> None:
    finding = read_configuration().diagnosis.findings[0]
    assert finding.outcome is Outcome.WARNING
    assert "make run" in (finding.remedy or "")


def test_a_group_that_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    (home / "likeness.yaml").write_text("database: text\nqdrant: path")
    monkeypatch.setenv("LIKENESS_CONFIG", str(home / "likeness.yaml"))
    problems = read_configuration().diagnosis.findings
    assert [finding.seen.partition(":")[0] for finding in problems] == ["DATABASE", "QDRANT"]


def test_a_connection_file_that_is_none(home: Path) -> None:
    (home / FILE_NAME).write_text("hush")
    found = read_configuration()
    assert (found.settings, found.diagnosis.findings[0].outcome) == (None, Outcome.FAILED)
