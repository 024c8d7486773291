import os
from pathlib import Path

import pytest

from deploy.local import launcher
from deploy.local.errors import ServiceFailed
from deploy.local.launcher import Launcher


def test_a_log_that_has_grown_large_is_set_aside_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "MAX_LOG_BYTES", 10)
    log = tmp_path / "x.log"
    for text in (b"0123456789", b"+", b"new"):
        descriptor = launcher._open_log(log)
        os.write(descriptor, text)
        os.close(descriptor)

    assert log.read_text() == "new"
    assert (tmp_path / "x.log.1").read_text() == "0123456789+"


async def test_a_command_that_fails_is_reported_with_the_end_of_its_output(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        started = Launcher(tmp_path, lock)
        await started.run("ok", ["/bin/sh", "-c", "echo fine"], dict(os.environ))
        script = "for n in $(seq 1 21); do echo line $n; done; exit 3"
        with pytest.raises(ServiceFailed, match=r"(?s)`sh` ended with status 3:.*    line 20\n    line 21\n") as failed:
            await started.run("bad", ["/bin/sh", "-c", script], dict(os.environ))
    finally:
        os.close(lock)
    assert "line 1\n" not in str(failed.value)
    assert (tmp_path / "ok.log").read_text() == "fine\n"
