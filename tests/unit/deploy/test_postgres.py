import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import postgres
from deploy.local.errors import ServiceFailed


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "postmaster.pid"


@pytest.mark.parametrize("pid", [os.getpid(), os.getppid()], ids=["own", "parent"])
def test_a_pid_that_another_program_has_now_is_forgotten(pid_file: Path, pid: int) -> None:
    pid_file.write_text(f"{pid}\n/data\n")

    postgres._remove_stale_pid(pid_file.parent)

    assert not pid_file.exists()


def test_a_pid_that_nobody_has_is_left_to_postgresql(pid_file: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid_file.write_text(f"{ended.pid}\n/data\n")

    postgres._remove_stale_pid(pid_file.parent)

    assert pid_file.exists()


def test_a_pid_file_that_is_not_there_or_cut_short_is_no_trouble(pid_file: Path) -> None:
    postgres._remove_stale_pid(pid_file.parent)
    pid_file.write_text("")
    postgres._remove_stale_pid(pid_file.parent)


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")

    with pytest.raises(ServiceFailed, match="PostgreSQL 17; this version of Likeness needs 18"):
        postgres._check_version(tmp_path)
