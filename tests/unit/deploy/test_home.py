import json
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from deploy.local.credentials import load_or_create
from deploy.local.errors import HomeUnusable
from deploy.local.home import Home, home_path


def test_a_home_is_private_and_made_with_its_parents(tmp_path: Path) -> None:
    home = Home(tmp_path / "new" / "home", min_free_bytes=0)

    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert home.logs.is_dir()


def test_a_home_that_is_a_file_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(HomeUnusable, match="LIKENESS_HOME="):
        Home(tmp_path / "file")


def test_a_home_on_a_read_only_place_is_refused() -> None:
    with pytest.raises(HomeUnusable, match="can't be used"):
        Home(Path("/proc/likeness"))


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)

    with pytest.raises(HomeUnusable, match="belongs to another user"):
        Home(tmp_path)


def test_a_comma_in_the_path_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match="comma"):
        Home(tmp_path / "a,b")

    assert not (tmp_path / "a,b").exists()


def test_too_little_space_is_refused_with_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**10, 10**10 - 5 * 10**6, 5 * 10**6))

    with pytest.raises(HomeUnusable, match="only 5 MB are free"):
        Home(tmp_path / "home")


def test_the_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKENESS_HOME", raising=False)
    assert home_path() == Path(".likeness")
    monkeypatch.setenv("LIKENESS_HOME", "")
    assert home_path() == Path(".likeness")
    monkeypatch.setenv("LIKENESS_HOME", "/somewhere/else")
    assert home_path() == Path("/somewhere/else")


def test_credentials_are_made_once_private_and_different_everywhere(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "credentials.json")

    assert load_or_create(tmp_path / "credentials.json") == first
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    other = load_or_create(tmp_path / "other.json")
    values = [getattr(each, name) for each in (first, other) for name in first.__dataclass_fields__]
    assert len(set(values)) == len(values)
    assert all(value not in repr(first) for value in values)


def test_a_crash_while_writing_credentials_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "credentials.json.new").write_text('{"postgres_pass')

    credentials = load_or_create(tmp_path / "credentials.json")

    assert json.loads((tmp_path / "credentials.json").read_text())["redis_password"] == credentials.redis_password
    assert [file.name for file in tmp_path.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"postgres_password": "x"}', "null"])
def test_damaged_credentials_are_not_replaced(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(damage)

    with pytest.raises(HomeUnusable, match="damaged"):
        load_or_create(path)

    assert path.read_text() == damage
