from pathlib import Path
from uuid import UUID, uuid4

import pytest

from worker.cli.files import LocalFile
from worker.cli.journal import Journal, default_path

FILE = LocalFile(Path("/pictures/a.jpg"), 10, 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.jsonl"


def note(path: Path, file: LocalFile) -> UUID:
    image_id = uuid4()
    with Journal(path) as journal:
        journal.note(file, "00" * 32, image_id)
        assert journal.find(file) == image_id
    return image_id


def find(path: Path, file: LocalFile) -> UUID | None:
    with Journal(path) as journal:
        return journal.find(file)


def test_what_was_noted_is_found_by_the_next_run(path: Path) -> None:
    assert find(path, FILE) is None
    image_id = note(path, FILE)
    other = note(path, LocalFile(Path("/pictures/b\udcff.jpg"), 10, 20))
    assert find(path, FILE) == image_id
    assert find(path, LocalFile(Path("/pictures/b\udcff.jpg"), 10, 20)) == other


@pytest.mark.parametrize("changed", [LocalFile(FILE.path, 11, 20), LocalFile(FILE.path, 10, 21)])
def test_a_changed_file_is_another(path: Path, changed: LocalFile) -> None:
    note(path, FILE)
    assert find(path, changed) is None
    latest = note(path, changed)
    assert find(path, changed) == latest
    assert find(path, FILE) is None


def test_it_is_on_its_way_to_the_disk_before_the_end(path: Path) -> None:
    with Journal(path) as journal:
        journal.note(FILE, "00" * 32, uuid4())
        assert find(path, FILE) is not None


@pytest.mark.parametrize("torn", [b'{"path": "/pictures/b.jp', b"\xff\xfe", b"[1]", b'{"path": [], "size": 1}', b"7"])
def test_a_torn_line_harms_no_other(path: Path, torn: bytes) -> None:
    before = note(path, FILE)
    with path.open("ab") as file:
        file.write(torn)
    after = LocalFile(Path("/pictures/c.jpg"), 1, 1)
    after_id = note(path, after)
    assert find(path, FILE) == before
    assert find(path, after) == after_id


def test_each_server_and_folder_has_a_journal_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = uuid4()
    paths = {default_path("http://a", None), default_path("http://b", None), default_path("http://a", folder)}
    assert len(paths) == 3
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert default_path("http://a", folder) in paths


def test_the_state_directory_defaults_to_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path("http://a", None).is_relative_to(tmp_path / ".local" / "state" / "likeness")
