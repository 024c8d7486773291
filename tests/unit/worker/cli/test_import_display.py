import json
from pathlib import Path
from uuid import UUID

import pytest

from common.api_client import ImageState
from worker.cli.import_display import ImportDisplay, print_summary
from worker.cli.importer import NotAccepted, Score

JOURNAL = Path("/state/journal.jsonl")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def state(number: int, status: str) -> ImageState:
    error = {"code": "image_corrupt", "detail": "it is broken"} if status == "error" else None
    return ImageState.model_validate({"id": UUID(int=number), "status": status, "error": error})


def score_of(*rejected: str) -> Score:
    score = Score(found=len(rejected) + 2, accepted=2)
    score.rejected = [NotAccepted(Path(path), "empty_file", "the file is empty") for path in rejected]
    score.images = {UUID(int=1): Path("/p/one.jpg"), UUID(int=2): Path("/p/two.jpg")}
    return score


def test_the_summary_names_rejected_files_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(score_of("/p/[red]a.jpg", "/p/b\x1b[31m\udcff.jpg"), JOURNAL, waited=False, as_json=False)
    said = capsys.readouterr()
    assert "4 files: 2 accepted, 0 there already, 0 sent by an earlier run, 2 rejected." in said.out
    assert "/p/[red]a.jpg" in said.out
    assert "/p/b\ufffd[31m\ufffd.jpg" in said.out
    assert "searchable" not in said.out


def test_a_long_list_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(score_of(*(f"/p/{number}" for number in range(60))), JOURNAL, waited=False, as_json=False)
    said = capsys.readouterr()
    assert said.out.count("empty_file") == 50
    assert said.err == "… and 10 more; --json lists all.\n"


def test_what_was_waited_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    score = score_of()
    score.states = {UUID(int=1): state(1, "done"), UUID(int=2): state(2, "error")}
    print_summary(score, JOURNAL, waited=True, as_json=False)
    shown = capsys.readouterr().out
    assert "1 images are searchable, 1 failed." in shown
    assert "/p/two.jpg" in shown
    print_summary(score, JOURNAL, waited=True, as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["failed"] == [{"path": "/p/two.jpg", "code": "image_corrupt", "detail": "it is broken"}]


def test_what_was_not_waited_for_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(score_of("/p/a"), JOURNAL, waited=False, as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert (data["found"], data["accepted"], data["failed"], data["journal"]) == (3, 2, None, str(JOURNAL))


def test_progress_goes_to_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    score = score_of("/p/a")
    with ImportDisplay(score) as display:
        display.pause("[busy]", 2)
        score.states = {UUID(int=1): state(1, "done")}
        display.refresh()
    said = capsys.readouterr()
    assert said.out == ""
    assert "3/3" in said.err
    assert "1 rejected" in said.err
    assert "1/2" in said.err
