import os
import pwd
import shutil
from pathlib import Path

import pytest

from deploy.local.errors import ServiceFailed
from deploy.local.unprivileged import Account, account_for


def test_an_ordinary_user_runs_things_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    account = account_for(tmp_path)

    assert account.uid == 1234
    assert account.wrap(["postgres", "-D", "data"]) == ["postgres", "-D", "data"]


def test_root_runs_things_as_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    nobody = pwd.getpwnam("nobody")
    account = account_for(tmp_path / "not yet there")

    program, *options = account.wrap(["postgres", "-D", "data"])

    assert account == Account(nobody.pw_uid, nobody.pw_gid)
    assert program == "/usr/bin/setpriv"
    assert {f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"} <= set(options)
    assert options[-4:] == ["--", "postgres", "-D", "data"]


def test_root_goes_on_as_whom_the_data_belongs_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    kept = os.stat_result((0o40700, 0, 0, 0, 4321, 4322, 0, 0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", lambda _path, **_options: kept)

    assert account_for(data) == Account(4321, 4322)


def test_without_setpriv_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    with pytest.raises(ServiceFailed, match="ordinary user"):
        Account(65534, 65534).wrap(["postgres"])
