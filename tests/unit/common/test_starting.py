"""The start of every process: wrong settings end it in plain words, and what is made once is not looked at again."""

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.main import main as api
from api.settings import ApiSettings
from common.errors import ConfigurationError, SettingsInvalid
from common.starting import check_settings, ending_plainly, settle_memory
from deploy.cluster.vectors import main as vectors
from deploy.local.app import main as local_app
from worker.cli import app as cli
from worker.main import main as worker
from worker.settings import WorkerSettings

WRONG = {"UPLOAD__MAX_PIXELS": "many-hush", "LOG__LEVEL": "hush", "S3__BUKET": "hush"}
SHARED = (
    "Wrong settings:\n"
    "  S3__BUKET (environment): there is no such setting; did you mean S3__BUCKET?\n"
    "  UPLOAD__MAX_PIXELS (environment): should be a valid integer, unable to parse string as an integer; "
    "allowed: integer, at least 1, at most 178000000\n"
)
LOG = "  LOG__LEVEL (environment): should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'\n"
OWN = {"IMPORT__ENABLED": "hush", "MODERATION__SCALE": "0"}
IMPORT = (
    "  IMPORT__ENABLED (environment): should be a valid boolean, unable to interpret input; allowed: boolean, true or "
)
MODERATION = "  MODERATION__SCALE (environment): should be greater than 0; allowed: number, more than 0, at most 1000\n"


@pytest.mark.parametrize(
    ("main", "told"),
    [
        (api, SHARED + IMPORT + "false\n" + LOG),
        (worker, SHARED + IMPORT + "false\n" + LOG + MODERATION),
        (local_app, SHARED + IMPORT + "false\n" + LOG + MODERATION),
    ],
    ids=["api", "worker", "local-app"],
)
def test_a_service_tells_all_that_is_wrong_and_ends(
    main: Callable[[], None], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (WRONG | OWN).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", told)


def test_a_process_tells_it_on_its_stderr_without_a_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "embedder"], env=os.environ | WRONG, capture_output=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stdout, ended.stderr.decode()) == (1, b"", SHARED + LOG)


def test_the_process_that_owns_the_index_tells_it_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VECTORS__PORT", "0")
    with pytest.raises(SystemExit) as ended:
        vectors()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("Wrong settings:\n  VECTORS__PORT (environment): should be")


def test_the_command_line_tells_it_with_its_own_exit_status(keep_logging: None, tmp_path: Path) -> None:
    given = {"DATABASE__POOL_SIZE": "0", "REDIS__URL": "a@b@hush", "S3__BUKET": "x", "LIKENESS_HOME": str(tmp_path)}
    ended = CliRunner().invoke(cli, ["status"], env=given)
    assert ended.exit_code == 2
    assert ended.stderr.splitlines() == [
        "Wrong settings:",
        "  S3__BUKET (environment): there is no such setting; did you mean S3__BUCKET?",
        "  DATABASE__POOL_SIZE (environment): should be greater than or equal to 1; allowed: integer, at least 1",
        "  REDIS__URL (environment): special characters in user name and password have to be percent-encoded",
    ]


def test_what_several_parts_read_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check_settings(ApiSettings, WorkerSettings)
    for name, value in {"HTTP__PORT": "0", "LOG__LEVEL": "loud", "WORKER__EMBED_BATCH": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as caught:
        check_settings(ApiSettings, WorkerSettings, ApiSettings)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "HTTP__PORT",
        "LOG__LEVEL",
        "WORKER__EMBED_BATCH",
    ]


def test_what_will_be_set_need_not_be_right_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"S3__SECRET_KEY_FILE": "/none", "QDRANT__URL": "a", "QDRANT__PATH": "b"}.items():
        monkeypatch.setenv(name, value)
    check_settings(ApiSettings, WorkerSettings, above={"S3__SECRET_KEY": "known", "QDRANT__URL": None})
    with pytest.raises(SettingsInvalid, match="QDRANT__URL"):
        check_settings(ApiSettings, WorkerSettings, above={"S3__SECRET_KEY": "known"})


def test_other_errors_of_configuration_end_plainly_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), ending_plainly():
        raise ConfigurationError("no Extension")
    assert capsys.readouterr().err == "no Extension\n"
    with pytest.raises(ZeroDivisionError), ending_plainly():
        raise ZeroDivisionError


def test_what_is_there_when_all_is_started_is_no_work_for_the_garbage_collector() -> None:
    class Thing:
        itself: Any = None

    thing = Thing()
    thing.itself = thing
    left = weakref.ref(thing)
    try:
        settle_memory()
        assert not any(each is thing for each in gc.get_objects())
        del thing
        gc.collect()
        assert left() is not None
        settle_memory()
        assert left() is None, "garbage stays until the next start in this process, and no longer"
    finally:
        gc.unfreeze()
