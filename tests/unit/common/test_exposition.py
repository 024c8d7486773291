"""Metrics of several processes behind one port."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import exposition
from common.metrics_folder import VARIABLE, check_folder


def test_two_that_are_scraped_at_once_may_both_forget_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp_path / "gauge_livesum_4194304.db"  # a number that no process has
    dead.touch()

    def remove(pid: int, folder: str) -> None:
        dead.unlink()
        raise FileNotFoundError(folder, pid)

    monkeypatch.setattr(exposition, "mark_process_dead", remove)
    exposition._forget_dead(tmp_path)
    assert not dead.exists()


@pytest.mark.parametrize("module", ["api.main", "worker.main", "embedder"])
def test_a_folder_that_is_none_is_told_in_words(module: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module],
        env=os.environ | {VARIABLE: str(tmp_path / "none")},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        1,
        "",
        "Wrong settings:\n  PROMETHEUS_MULTIPROC_DIR (environment): there is no such folder; "
        "allowed: a folder that exists and can be written, or the variable not set at all\n",
    )


def test_a_folder_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    check_folder()
    monkeypatch.delenv(VARIABLE)
    check_folder()


def test_other_folders_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(SystemExit, match="is empty"):
        check_folder()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # as root, who may everything, can't have it for real
    with pytest.raises(SystemExit, match="can't be written"):
        check_folder()
