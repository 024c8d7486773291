"""Metrics of several processes behind one port."""

from pathlib import Path

import pytest

from common import exposition


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
