import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.docker import make_secrets


def _values(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    pairs = (line.split("=", 1) for line in lines)
    return dict(pairs)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_secrets_are_random_and_their_owners_alone(tmp_path: Path, open_umask: None) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert make_secrets.main(first) == make_secrets.main(second) == 0
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    secrets = {name: value for name, value in _values(first).items() if not name.startswith("COMPOSE_")}
    assert len(set(secrets.values())) == len(secrets)
    assert all(int(value, 16) and len(value) >= 20 for value in secrets.values())
    assert not secrets.items() & _values(second).items()


def test_secrets_that_are_there_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".env"
    path.write_text("POSTGRES_PASSWORD=old\n")
    assert make_secrets.main(path) == 1
    assert path.read_text() == "POSTGRES_PASSWORD=old\n"
    said = capsys.readouterr().err
    assert "stays as it is" in said
    assert "REDIS_PASSWORD" in said
    assert " POSTGRES_PASSWORD" not in said


def test_of_a_file_with_all_secrets_nothing_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (make_secrets.main(tmp_path / ".env"), make_secrets.main(tmp_path / ".env")) == (0, 1)
    assert capsys.readouterr().err.endswith("stays as it is.\n")


def test_of_several_at_once_one_writes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: make_secrets.main(tmp_path / ".env"), range(8)))
    assert sorted(results) == [0] + [1] * 7


def test_a_full_disk_leaves_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert make_secrets.main(tmp_path / ".env") == 1
    assert list(tmp_path.iterdir()) == []
    assert "No space left" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_secrets.main(tmp_path / "missing" / ".env") == 1
    assert "can't be written" in capsys.readouterr().err
