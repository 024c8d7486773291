import os
from pathlib import Path

import pytest

from worker.cli.files import MAX_BYTES, MAX_FILES, LocalFile, find_files, pack


def file(name: str, size: int = 1) -> LocalFile:
    return LocalFile(Path("/pictures") / name, size, 0)


def write(path: Path, content: bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_everything_but_hidden_files_and_folders_is_found_once_in_order(tmp_path: Path) -> None:
    found = [write(tmp_path / name) for name in ("a.jpg", "b/c.txt", "b/d/e", "z.png")]
    write(tmp_path / ".hidden.jpg")
    write(tmp_path / "b" / ".git" / "f.jpg")
    roots = [tmp_path / "b", tmp_path, tmp_path / "z.png", tmp_path / "b" / ".." / "a.jpg"]
    assert [each.path for each in find_files(roots)] == found


def test_a_hidden_root_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path / ".pictures" / "a.jpg")
    assert [each.path for each in find_files([tmp_path / ".pictures"])] == [path]


def test_only_regular_files_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link.jpg").symlink_to(path)
    assert [each.path.name for each in find_files([tmp_path])] == ["a.jpg", "link.jpg"]


def test_a_file_is_described_as_it_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", b"12345")
    (found,) = find_files([tmp_path])
    assert (found.size, found.mtime_ns) == (5, path.stat().st_mtime_ns)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        find_files([tmp_path])


@pytest.mark.parametrize(
    ("name", "sent"), [("né.jpg", "né.jpg"), ("a\x1b[31m.jpg", "a\ufffd[31m.jpg"), ("a\udcff.jpg", "a\ufffd.jpg")]
)
def test_names_are_sent_without_what_utf8_or_a_terminal_cannot_take(name: str, sent: str) -> None:
    assert file(name).upload_name == sent


def test_requests_are_bounded_by_files() -> None:
    files = [file(str(number)) for number in range(2 * MAX_FILES + 1)]
    packed = list(pack(files))
    assert [len(request) for request in packed] == [MAX_FILES, MAX_FILES, 1]
    assert [each for request in packed for each in request] == files


def test_requests_are_bounded_by_bytes_and_a_larger_file_goes_alone() -> None:
    sizes = [MAX_BYTES - 1, 1, 1, MAX_BYTES + 1, 5]
    packed = pack(file(str(number), size) for number, size in enumerate(sizes))
    assert [[each.size for each in request] for request in packed] == [
        [MAX_BYTES - 1, 1],
        [1],
        [MAX_BYTES + 1],
        [5],
    ]


def test_nothing_makes_no_request() -> None:
    assert list(pack([])) == []
