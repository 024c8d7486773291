from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from common.api_client import ApiRefused, ApiUnavailable
from tests.unit.worker.cli.fake_api import FakeApi, problem
from worker.cli.files import find_files
from worker.cli.importer import Importer, Score
from worker.cli.journal import Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal") as opened:
        yield opened


def write(folder: Path, **contents: bytes) -> None:
    for name, content in contents.items():
        (folder / name).write_bytes(content)


async def run(api: FakeApi, journal: Journal, folder: Path, *, wait: bool = False) -> Score:
    score = Score()
    async with api.client() as client:
        importer = Importer(client, journal, {"tags": ["a", "b"], "category": "c"}, score)
        await importer.send(find_files([folder]))
        if wait:
            await importer.wait()
    return score


def rejections(score: Score) -> dict[str, str]:
    return {file.path.name: file.code for file in score.rejected}


async def test_every_file_is_accounted_for(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1", b=b"text", c=b"image 1", d=b"image 2", e=b"more text")
    api = FakeApi()
    score = await run(api, journal, folder)
    assert (score.found, score.answered, score.accepted, score.duplicates) == (5, 5, 2, 1)
    assert {file.path.name: file.detail for file in score.rejected} == {"b": "b is no image", "e": "e is no image"}
    assert api.fields == [{"tags": ["a", "b"], "category": ["c"]}]


async def test_files_of_one_name_are_told_apart_by_their_bytes(journal: Journal, folder: Path) -> None:
    for name, content in (("x", b"text"), ("y", b"image"), ("z", b"text too")):
        (folder / name).mkdir()
        (folder / name / "same.jpg").write_bytes(content)
    score = await run(FakeApi(), journal, folder)
    assert [file.path.parent.name for file in score.rejected] == ["x", "z"]
    assert [path.parent.name for path in score.images.values()] == ["y"]


async def test_a_second_run_sends_what_is_new_changed_or_was_rejected(journal: Journal, folder: Path) -> None:
    api = FakeApi()
    write(folder, a=b"image 1", b=b"image 2", c=b"text")
    await run(api, journal, folder)
    write(folder, b=b"image 2, edited", d=b"image 3")
    api.uploads.clear()
    score = await run(api, journal, folder)
    assert api.uploads == [["b", "c", "d"]]
    assert (score.skipped, score.accepted, rejections(score)) == (1, 2, {"c": "unsupported_media"})


async def test_nothing_is_sent_when_the_server_has_everything(journal: Journal, folder: Path) -> None:
    api = FakeApi()
    write(folder, a=b"image 1", b=b"image 2")
    await run(api, journal, folder)
    api.uploads.clear()
    score = await run(api, journal, folder)
    assert api.uploads == []
    assert score.skipped == 2


async def test_what_the_server_no_longer_has_is_sent_again(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1")
    await run(FakeApi(), journal, folder)
    wiped = FakeApi()
    score = await run(wiped, journal, folder)
    assert (score.skipped, score.accepted) == (0, 1)


async def test_when_every_file_is_rejected_each_says_why(journal: Journal, folder: Path) -> None:
    write(folder, a=b"text", b=b"more text")
    score = await run(FakeApi(), journal, folder)
    assert rejections(score) == {"a": "unsupported_media", "b": "unsupported_media"}


async def test_a_request_too_large_for_the_server_is_halved(journal: Journal, folder: Path) -> None:
    write(folder, **{f"f{number}": f"image {number}".encode() for number in range(7)})
    api = FakeApi(max_files=2)
    score = await run(api, journal, folder)
    assert score.accepted == 7
    assert [len(names) for names in api.uploads] == [7, 3, 1, 2, 4, 2, 2]


async def test_one_file_too_large_for_the_server_is_rejected(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1", b=b"image 2")
    score = await run(FakeApi(max_files=0), journal, folder)
    assert rejections(score) == {"a": "too_many_files", "b": "too_many_files"}


async def test_a_file_that_cannot_be_read_harms_no_other(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1", b=b"image 2", c=b"image 3")
    files = find_files([folder])
    (folder / "b").unlink()
    score = Score()
    async with FakeApi().client() as client:
        await Importer(client, journal, {}, score).send(files)
    assert (score.accepted, rejections(score)) == (2, {"b": "file_unreadable"})


async def test_a_file_that_changed_while_it_was_read_is_not_noted(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1")
    api = FakeApi()
    accepted = {"id": str(UUID(int=1)), "status": "pending", "filename": "a", "sha256": "f" * 64, "duplicate": False}
    api.answers = [httpx.Response(202, json={"images": [accepted], "rejected": []})]
    score = await run(api, journal, folder)
    assert rejections(score) == {"a": "file_changed"}
    assert (await run(api, journal, folder)).accepted == 1


async def test_a_defect_of_the_server_fails_that_request_alone(journal: Journal, folder: Path) -> None:
    write(folder, **{f"f{number:02}": f"image {number}".encode() for number in range(60)})
    api = FakeApi(answers=[problem(500, "internal_error")])
    score = await run(api, journal, folder)
    assert sorted([score.accepted, len(score.rejected)]) == [10, 50]
    assert set(rejections(score).values()) == {"internal_error"}


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_what_would_refuse_every_request_ends_the_import(journal: Journal, folder: Path, status: int) -> None:
    write(folder, a=b"image 1")
    with pytest.raises(ApiRefused, match="because of folder_not_found"):
        await run(FakeApi(answers=[problem(status, "folder_not_found")]), journal, folder)


async def test_what_was_accepted_before_an_outage_is_not_sent_again(journal: Journal, folder: Path) -> None:
    write(folder, **{f"f{number:03}": f"image {number}".encode() for number in range(300)})
    api = FakeApi()
    ordinary = api.handle

    def fail_later(request: httpx.Request) -> httpx.Response:
        if len(api.uploads) >= 4:
            raise httpx.ConnectError("refused")
        return ordinary(request)

    api.handle = fail_later  # type: ignore[method-assign]
    with pytest.raises(ApiUnavailable):
        await run(api, journal, folder)
    before = len(api.images)
    assert 0 < before < 300
    api.handle = ordinary  # type: ignore[method-assign]
    score = await run(api, journal, folder)
    assert (score.skipped, score.accepted, score.duplicates) == (before, 300 - before, 0)


async def test_waiting_tells_what_failed(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1", b=b"image 2")
    api = FakeApi()
    score = await run(api, journal, folder)
    first, second = sorted(score.images, key=lambda id_: score.images[id_])
    api.states = {first: "done", second: "error"}
    score = await run(api, journal, folder, wait=True)
    assert score.settled == 2
    assert [(file.path.name, file.code) for file in score.failed] == [("b", "image_corrupt")]


async def test_a_deleted_image_is_not_waited_for(journal: Journal, folder: Path) -> None:
    write(folder, a=b"image 1")
    api = FakeApi()
    score = Score()
    async with api.client() as client:
        importer = Importer(client, journal, {}, score)
        await importer.send(find_files([folder]))
        api.states.clear()
        await importer.wait()
    assert score.settled == 0
