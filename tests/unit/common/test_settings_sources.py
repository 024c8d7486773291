"""Where settings are from: which place goes first, secrets from files, and what is told about either."""

from datetime import time
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr

from api.settings import ApiSettings
from common.errors import SettingsInvalid
from common.settings import (
    DatabaseSettings,
    QdrantSettings,
    RedisAddress,
    RedisSettings,
    S3Settings,
    ServiceSettings,
)
from worker.settings import WorkerSettings


class Store(BaseModel):
    """A group."""

    bucket: str = "likeness"
    secret_key: SecretStr = SecretStr("")
    token: SecretStr | None = None
    url: RedisAddress = SecretStr("")
    threads: int | None = Field(default=None, ge=1)
    labels: dict[str, str | list[str]] = Field(default_factory=dict)
    at: time = time(3)
    on: bool = False


class Settings(ServiceSettings):
    store: Store = Store()
    imports: Store = Field(default=Store(), alias="import")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where a `.env` counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIKENESS_ENV_FILE")
    return tmp_path


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKENESS_CONFIG", "likeness.yaml")
    return folder / "likeness.yaml"


def problems(settings: type[ServiceSettings] = Settings) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as caught:
        settings()
    assert str(caught.value) == "\n  ".join(["Wrong settings:", *caught.value.problems])
    return caught.value.problems


def test_the_environment_goes_before_env_file_and_yaml(
    folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("store: {bucket: yaml, threads: 1, at: 13:00}\nimport: {bucket: yaml}\n")
    assert Settings().store == Store(bucket="yaml", threads=1, at=time(13))
    (folder / ".env").write_text("STORE__BUCKET=dotenv\nSTORE__THREADS=2\n")
    assert Settings().store == Store(bucket="dotenv", threads=2, at=time(13))
    monkeypatch.setenv("STORE__BUCKET", "environment")
    assert Settings().store == Store(bucket="environment", threads=2, at=time(13))
    assert Settings(store=Store(bucket="given")).store == Store(bucket="given")
    assert Settings().imports == Store(bucket="yaml")


def test_an_object_is_replaced_and_not_merged(folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("store:\n  labels: {a: one, b: [two]}\n")
    assert Settings().store.labels == {"a": "one", "b": ["two"]}
    monkeypatch.setenv("STORE__LABELS", '{"c": "three"}')
    assert Settings().store.labels == {"c": "three"}
    monkeypatch.delenv("STORE__LABELS")
    monkeypatch.setenv("STORE__LABELS__D", "four")
    assert Settings().store.labels == {"d": "four"}


def test_a_group_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTS__BUCKET", "the attribute's name is nobody's business")
    monkeypatch.setenv("import__bucket", "ours")
    assert Settings().imports.bucket == "ours"
    monkeypatch.delenv("import__bucket")
    assert Settings().imports.bucket == "likeness"


def test_an_empty_value_of_what_need_not_be_is_none(
    folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("store: {threads: 4, token: t, bucket: b}\n")
    for name in ("THREADS", "TOKEN", "BUCKET"):
        monkeypatch.setenv(f"STORE__{name}", "")
    assert Settings().store == Store(bucket="", threads=None, token=None)


def test_another_env_file_may_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("STORE__BUCKET=dotenv\n")
    (folder / "other.env").write_text("STORE__BUCKET=other\n")
    monkeypatch.setenv("LIKENESS_ENV_FILE", "other.env")
    assert Settings().store.bucket == "other"
    monkeypatch.setenv("LIKENESS_ENV_FILE", "")
    assert Settings().store.bucket == "likeness"
    monkeypatch.setenv("LIKENESS_ENV_FILE", "none.env")
    assert problems() == ("LIKENESS_ENV_FILE: can't read none.env: no such file",)


def test_an_env_file_that_is_no_text_is_told(folder: Path) -> None:
    (folder / ".env").write_bytes(b"STORE__BUCKET=\xff\n")
    assert problems() == ("LIKENESS_ENV_FILE: .env is no text",)


def test_the_env_file_may_name_the_yaml_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("LIKENESS_CONFIG=likeness.yaml\n")
    (folder / "likeness.yaml").write_text("store: {bucket: yaml}\n")
    assert Settings().store.bucket == "yaml"
    monkeypatch.setenv("LIKENESS_CONFIG", "")
    assert Settings().store.bucket == "likeness", "the environment goes first here, too"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "LIKENESS_CONFIG: can't read likeness.yaml: No such file or directory"),
        ("store: [", "LIKENESS_CONFIG: likeness.yaml is no valid YAML in line 1: "),
        ("store:\n  secret_key: 'hush\n", "LIKENESS_CONFIG: likeness.yaml is no valid YAML in line 3: "),
        (
            "store: {secret_key: *hush}",
            "LIKENESS_CONFIG: likeness.yaml is no valid YAML in line 1: found undefined alias",
        ),
        (
            "store:\n  secret_key: !hush",
            "LIKENESS_CONFIG: likeness.yaml is no valid YAML in line 2: could not determine",
        ),
        ("store: {secret_key: !it!s'\"hush}", "LIKENESS_CONFIG: likeness.yaml is no valid YAML in line 1: "),
        ("store: {secret_key:hush}", "store.secret_key (likeness.yaml): there is no such setting"),
        ("- store", "LIKENESS_CONFIG: likeness.yaml has to be a mapping"),
        ("store: {}\nstore: {bucket: b}", "LIKENESS_CONFIG: likeness.yaml is no valid YAML in line 1: store is there"),
        ("store: \0", "LIKENESS_CONFIG: likeness.yaml is no valid YAML: it has characters"),
        ("store: text", "STORE: has to be a group of settings"),
        ("store: {bucket: {a: b}}", "store.bucket (likeness.yaml): should be a valid string; allowed: text"),
        (
            "store: {labels: text}",
            "store.labels (likeness.yaml): should be a valid dictionary; allowed: object, a JSON",
        ),
        ("sotre: {}", "sotre (likeness.yaml): there is no such group; did you mean store?"),
        ("STORE: {}", "STORE (likeness.yaml): there is no such group"),
        ("1: {}", "1 (likeness.yaml): there is no such group"),
        ("store: {buket: b}", "store.buket (likeness.yaml): there is no such setting; did you mean store.bucket?"),
        ("store: {bucket_file: b}", "store.bucket_file (likeness.yaml): there is no such setting"),
    ],
)
def test_a_yaml_file_that_is_wrong_is_told(config: Path, content: str | None, told: str) -> None:
    if content is not None:
        config.write_text(content)
    (found,) = problems()
    assert found.startswith(told)
    assert "hush" not in found


def test_a_colon_for_an_equals_sign_does_not_tell_the_value(folder: Path) -> None:
    (folder / ".env").write_text("STORE__SECRET_KEY:hush\n")
    (found,) = problems()
    assert found == "STORE__SECRET_KEY (.env): there is no such setting; did you mean STORE__SECRET_KEY?"


@pytest.mark.parametrize("content", ["", "# nothing\n", "store:\n", "store:\n  threads:\n  token: ~\n  bucket:\n"])
def test_a_yaml_file_may_say_nothing(config: Path, content: str) -> None:
    config.write_text(content)
    assert Settings() == Settings(store=Store())


def test_yaml_values_are_text_that_the_setting_reads(config: Path) -> None:
    config.write_text(
        "store: &store {bucket: 0123, token: 1e6, on: yes, labels: {no: 5, x: 13:00, y: [on, 1.50]}}\n"
        "import: {<<: *store, bucket: null, on: off}\n"
    )
    read = Settings()
    store, copy = read.store, read.imports
    assert (store.bucket, store.on, store.token) == ("0123", True, SecretStr("1e6"))
    assert store.labels == {"no": "5", "x": "13:00", "y": ["on", "1.50"]}
    assert (copy.bucket, copy.on, copy.token) == ("likeness", False, SecretStr("1e6"))


def test_one_file_serves_all_services(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("worker: {embed_batch: 7}\nembedder: {model: demo, url: http://e}\nqdrant: {api_key_file: }\n")
    monkeypatch.setenv("CACHE__VECTORS", "1")
    monkeypatch.setenv("TAGGING__SCALE", "1")
    monkeypatch.setenv("OTHER__THING", "1")
    assert ApiSettings().embedder.url == WorkerSettings().embedder.url == "http://e"
    assert WorkerSettings().worker.embed_batch == 7


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("S3__BUKET", "; did you mean S3__BUCKET?"),
        ("s3__secret_key_flie", "; did you mean S3__SECRET_KEY_FILE?"),
        ("WORKER__IMAGES_IN_FLIGTH", "; did you mean WORKER__IMAGES_IN_FLIGHT?"),
        ("LOG__", ""),
        ("LOG__SOMETHING_ELSE", ""),
    ],
)
def test_a_variable_of_ours_that_is_no_setting_is_told(monkeypatch: pytest.MonkeyPatch, name: str, hint: str) -> None:
    monkeypatch.setenv(name, "hush")
    assert problems(ApiSettings) == (f"{name.upper()} (environment): there is no such setting{hint}",)


def test_what_qdrant_itself_reads_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (
        "SERVICE__API_KEY",
        "STORAGE__STORAGE_PATH",
        "CLUSTER__ENABLED",
        "TLS__CERT",
        "LOG_LEVEL",
        "GPU__INDEXING",
    ):
        monkeypatch.setenv(f"QDRANT__{key}", "hush")
    monkeypatch.setenv("QDRANT__TELEMETRY_DISABLED", "true")
    ApiSettings()
    monkeypatch.setenv("QDRANT__API_KYE", "hush")
    monkeypatch.setenv("QDRANT__TIMEOUT", "hush")
    assert problems(ApiSettings) == (
        "QDRANT__API_KYE (environment): there is no such setting; did you mean QDRANT__API_KEY?",
        "QDRANT__TIMEOUT (environment): there is no such setting; did you mean QDRANT__TIMEOUT_S?",
    )


def test_a_secret_is_read_from_its_file(folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a").write_text("hush\r\n")
    (folder / "b").write_text(" two\nlines \n")
    config.write_text(f"store: {{secret_key_file: {folder}/a, url_file: url, token: {{}}}}\n")
    (folder / "url").write_text("redis://:hush@redis\n")
    (folder / ".env").write_text("STORE__TOKEN_FILE=b\nSTORE__TOKEN=\n")
    store = Settings().store
    assert (store.secret_key, store.token) == (SecretStr("hush"), SecretStr(" two\nlines "))
    assert store.url == SecretStr("redis://:hush@redis")
    monkeypatch.setenv("STORE__SECRET_KEY", "beats the file of a later place")
    (folder / "a").write_text("")
    monkeypatch.setenv("STORE__URL_FILE", "url")
    assert Settings().store.secret_key.get_secret_value() == "beats the file of a later place"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SECRET_KEY_FILE": "/hush/hush"}, "the file can't be read: No such file or directory"),
        ({"SECRET_KEY_FILE": "."}, "the file can't be read: Is a directory"),
        ({"SECRET_KEY_FILE": "bytes"}, "has to name a file with text"),
        ({"SECRET_KEY_FILE": "empty"}, "the file is empty"),
        ({"SECRET_KEY_FILE": "hush", "SECRET_KEY": "hush"}, "is set beside the value itself; keep one of the two"),
    ],
)
def test_a_file_without_a_secret_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: str
) -> None:
    (folder / "bytes").write_bytes(b"\xff")
    (folder / "empty").write_text("\n")
    for name, value in given.items():
        monkeypatch.setenv(f"STORE__{name}", value)
    assert problems() == (f"STORE__SECRET_KEY_FILE (environment): {told}",)


def test_what_is_no_address_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Addresses(ServiceSettings):
        database: DatabaseSettings = DatabaseSettings()
        redis: RedisSettings = RedisSettings()
        s3: S3Settings = S3Settings()
        qdrant: QdrantSettings = QdrantSettings()

    monkeypatch.setenv("DATABASE__URL", "mysql://likeness:hush@db/likeness")
    monkeypatch.setenv("REDIS__URL", "hush")
    monkeypatch.setenv("S3__ENDPOINT", "hush:9000")
    monkeypatch.setenv("QDRANT__URL", "http://hush:port")
    found = problems(Addresses)
    assert [problem.split(" ")[0] for problem in found] == [
        "DATABASE__URL",
        "REDIS__URL",
        "S3__ENDPOINT",
        "QDRANT__URL",
    ]
    assert "postgresql+asyncpg://user:password@host:port/name" in found[0]
    assert "hush" not in "".join(found)


def test_everything_wrong_is_told_at_once(folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("STORE__AT=late\nSTORE__TOKEN_FILE=hush\nIMPORT__LABELS={hush\n")
    config.write_text("store: {threads: 0, buckets: b}\n")
    (folder / "url").write_text("redis://:hush@hush@redis\n")
    monkeypatch.setenv("STORE__URL_FILE", "url")
    monkeypatch.setenv("STORE__LABELS", '{"a": 5}')
    found = problems()
    assert "hush" not in "".join(found)
    assert [problem.split(": ")[0] for problem in found] == [
        "store.buckets (likeness.yaml)",
        "STORE__TOKEN_FILE (.env)",
        "STORE__URL_FILE (environment)",
        "store.threads (likeness.yaml)",
        "STORE__LABELS (environment) at a.str",
        "STORE__LABELS (environment) at a.list[str]",
        "STORE__AT (.env)",
        "IMPORT__LABELS (.env)",
    ]
    assert "; allowed: integer, at least 1" in found[3]
