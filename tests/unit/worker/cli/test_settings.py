import json
from pathlib import Path

import pytest

from common.connection_file import FILE_NAME, find_api_url
from common.errors import ConfigurationError
from worker.cli.settings import read_settings

LOCAL = {
    "DATABASE__URL": "postgresql+asyncpg://local",
    "REDIS__URL": "redis://local",
    "LIKENESS_URL": "http://127.0.0.1:8123",
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in LOCAL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIKENESS_HOME", str(tmp_path))
    return tmp_path


def addresses() -> tuple[str, str]:
    settings = read_settings()
    return settings.database.url.get_secret_value(), settings.redis.url.get_secret_value()


def test_without_anything_the_defaults_stand() -> None:
    assert addresses() == ("postgresql+asyncpg://likeness@127.0.0.1:5432/likeness", "redis://127.0.0.1:6379/0")
    assert find_api_url() is None


def test_a_running_local_stack_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    monkeypatch.setenv("DATABASE__POOL_SIZE", "3")
    assert addresses() == (LOCAL["DATABASE__URL"], LOCAL["REDIS__URL"])
    assert read_settings().database.pool_size == 3
    assert find_api_url() == LOCAL["LIKENESS_URL"]


def test_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    monkeypatch.setenv("REDIS__URL", "redis://mine")
    monkeypatch.setenv("LIKENESS_URL", "http://mine")
    assert addresses() == (LOCAL["DATABASE__URL"], "redis://mine")
    assert find_api_url() == "http://mine"


def test_stores_of_two_deployments_are_never_mixed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    monkeypatch.setenv("DATABASE__URL", "postgresql+asyncpg://mine")
    assert addresses() == ("postgresql+asyncpg://mine", "redis://127.0.0.1:6379/0")


def test_any_place_that_names_a_database_goes_before_the_local_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / FILE_NAME).write_text(json.dumps(LOCAL))
    (home / ".env").write_text("DATABASE__POOL_SIZE=3\n")
    monkeypatch.setenv("LIKENESS_ENV_FILE", str(home / ".env"))
    assert addresses() == (LOCAL["DATABASE__URL"], LOCAL["REDIS__URL"])
    (home / "url").write_text("postgresql+asyncpg://mine\n")
    (home / ".env").write_text(f"DATABASE__URL_FILE={home / 'url'}\n")
    assert addresses() == ("postgresql+asyncpg://mine", "redis://127.0.0.1:6379/0")


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', '{"DATABASE__URL": 5}'])
def test_a_damaged_file_is_said_to_be_one(home: Path, content: str) -> None:
    (home / FILE_NAME).write_text(content)
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        read_settings()
