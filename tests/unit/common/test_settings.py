"""Settings: read from the environment by group, checked, and discreet about secrets."""

from datetime import timedelta
from traceback import format_exception

import pytest
from pydantic import ValidationError

from api.settings import ApiSettings
from common.errors import SettingsInvalid
from common.settings import ImportSettings, LogSettings, QdrantSettings, SearchLogSettings, ServiceSettings
from worker.settings import WorkerSettings

SERVICES: list[type[ApiSettings] | type[WorkerSettings]] = [ApiSettings, WorkerSettings]


@pytest.mark.parametrize("service", SERVICES)
def test_groups_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, service: type[ApiSettings] | type[WorkerSettings]
) -> None:
    monkeypatch.setenv("DATABASE__URL", "postgresql+asyncpg://someone@db/elsewhere")
    monkeypatch.setenv("S3__ENDPOINT", "https://s3.example")
    monkeypatch.setenv("UPLOAD__MAX_FILE_BYTES", "1000")
    monkeypatch.setenv("QDRANT__TIMEOUT_S", "2.5")
    monkeypatch.setenv("LOG__LEVEL", "DEBUG")
    read = service()
    assert read.database.url.get_secret_value() == "postgresql+asyncpg://someone@db/elsewhere"
    assert read.s3.endpoint == "https://s3.example"
    assert read.upload.max_file_bytes == 1000
    assert read.upload.max_side == service.model_fields["upload"].default.max_side, "the rest of the group stays"
    assert read.qdrant.timeout_s == 2.5
    assert read.log.level == "DEBUG"


@pytest.mark.parametrize("service", SERVICES)
def test_imports_are_off_unless_switched_on(
    monkeypatch: pytest.MonkeyPatch, service: type[ApiSettings] | type[WorkerSettings]
) -> None:
    assert not service().imports.enabled
    monkeypatch.setenv("IMPORT__ENABLED", "true")
    monkeypatch.setenv("IMPORT__TIMEOUT_S", "7")
    assert service().imports == ImportSettings(enabled=True, timeout_s=7)


@pytest.mark.parametrize("service", SERVICES)
def test_searches_are_logged_unless_switched_off(
    monkeypatch: pytest.MonkeyPatch, service: type[ApiSettings] | type[WorkerSettings]
) -> None:
    assert service().search_log == SearchLogSettings(enabled=True, retention=timedelta(days=90))
    monkeypatch.setenv("SEARCH_LOG__ENABLED", "false")
    monkeypatch.setenv("SEARCH_LOG__RETENTION", "P30D")
    assert service().search_log == SearchLogSettings(enabled=False, retention=timedelta(days=30))


def test_each_service_reads_its_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP__PORT", "9000")
    monkeypatch.setenv("WORKER__EMBED_BATCH", "7")
    monkeypatch.setenv("CACHE__CANDIDATES_S", "2.5")
    assert ApiSettings().http.port == 9000
    assert WorkerSettings().worker.embed_batch == 7
    assert ApiSettings().cache.candidates_s == 2.5


@pytest.mark.parametrize("service", SERVICES)
def test_what_concerns_another_service_is_ignored(
    monkeypatch: pytest.MonkeyPatch, service: type[ServiceSettings]
) -> None:
    monkeypatch.setenv("EMBEDDER__MODEL", "ViT-B-32")
    monkeypatch.setenv("SOMETHING__ELSE", "1")
    service()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UPLOAD__MAX_FILE_BYTES", "0"),
        ("UPLOAD__MAX_PIXELS", "many"),
        ("DATABASE__POOL_SIZE", "0"),
        ("S3__READ_TIMEOUT_S", "0"),
        ("LOG__LEVEL", "LOUD"),
        ("LOG__FORMAT", "xml"),
        ("EMBEDDER__TIMEOUT_S", "-1"),
        ("IMPORT__CONCURRENT", "0"),
        ("IMPORT__ENABLED", "perhaps"),
        ("SEARCH_LOG__RETENTION", "0"),
    ],
)
@pytest.mark.parametrize("service", SERVICES)
def test_nonsense_stops_a_service_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, service: type[ServiceSettings], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name):
        service()


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, service: type[ServiceSettings]) -> None:
    monkeypatch.setenv("DATABASE__URL", "postgresql+asyncpg://likeness:hunter2@db/likeness")
    monkeypatch.setenv("REDIS__URL", "redis://:hunter2@redis/0")
    monkeypatch.setenv("S3__SECRET_KEY", "hunter2")
    monkeypatch.setenv("QDRANT__API_KEY", "hunter2")
    assert "hunter2" not in f"{service()!r} {service()} {service().model_dump_json()}"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "given",
    [
        {"QDRANT__URL": "a", "QDRANT__PATH": "b", "QDRANT__API_KEY": "hunter2"},
        {"DATABASE": '"hunter2"'},
        {"DATABASE": "{hunter2"},
        {"S3": '{"secret_key": ["hunter2"]}'},
    ],
    ids=["together", "no-group", "no-json", "no-text"],
)
def test_secrets_are_not_shown_by_what_refuses_them(
    monkeypatch: pytest.MonkeyPatch, service: type[ServiceSettings], given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as caught:
        service()
    assert "hunter2" not in "".join(format_exception(caught.value))


def test_settings_do_not_change_once_read() -> None:
    read = ApiSettings()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(read, "log", LogSettings(level="DEBUG"))  # noqa: B010 - mypy would refuse the assignment


def test_one_kind_of_vector_index(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="not both"):
        QdrantSettings.model_validate({"url": "http://qdrant:6333", "path": "vectors"})
    assert QdrantSettings.model_validate({"url": "http://qdrant:6333"}).path is None
    assert QdrantSettings.model_validate({"path": "vectors"}).url is None
