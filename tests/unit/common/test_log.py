"""Logs: our records and foreign ones in one format, with context, without secrets in tracebacks."""

import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any, Literal

import pytest
import structlog
from opentelemetry.util.re import parse_env_headers

from common.log import configure_logging
from common.settings import LogSettings

QUIETENED = ("uvicorn", "uvicorn.error", "uvicorn.access", "arq", "httpx", "httpcore", "arq.worker", "PIL")
JSON = LogSettings(format="json")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Put the process's logging back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    loggers = [logging.getLogger(name) for name in (*QUIETENED, "alembic.runtime.migration")]
    structlogs = structlog.get_config()
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, had, was, propagated in before:
        logger.handlers[:] = had
        logger.setLevel(was)
        logger.propagate = propagated
    structlog.configure(**structlogs)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_our_records_are_events_with_fields_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(JSON)
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("here").info("image_indexed", image_id="i-1")
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "image_indexed",
        "level": "info",
        "logger": "here",
        "image_id": "i-1",
        "request_id": "r-1",
    }


def test_a_logger_without_a_name_has_that_of_its_module(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(JSON)
    structlog.get_logger().info("said")
    (line,) = lines(capsys)
    assert line["logger"] == __name__


def test_foreign_records_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(JSON)
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        logging.getLogger("some.library").warning("gave up after %d tries", 3)
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "gave up after 3 tries",
        "level": "warning",
        "logger": "some.library",
        "request_id": "r-1",
    }


def test_levels_hold_for_both_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json", level="WARNING"))
    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        logger.info("quiet")
        logger.warning("loud")
    assert [(line["logger"], line["event"]) for line in lines(capsys)] == [("ours", "loud"), ("theirs", "loud")]


@pytest.mark.parametrize("foreign", [True, False])
def test_tracebacks_are_structured_and_hide_local_variables(capsys: pytest.CaptureFixture[str], foreign: bool) -> None:
    configure_logging(JSON)
    password = "hunter2" + "!"
    try:
        raise ValueError(f"refused {len(password)} characters")
    except ValueError:
        logger = logging.getLogger("theirs") if foreign else structlog.get_logger("ours")
        logger.exception("login_failed")
    (line,) = lines(capsys)
    (error,) = line["exception"]
    assert (error["exc_type"], error["exc_value"]) == ("ValueError", "refused 8 characters")
    assert error["frames"]
    assert "hunter2!" not in json.dumps(line)


@pytest.mark.parametrize("name", ["uvicorn.access", "httpx", "arq.worker", "PIL"])
def test_chatty_libraries_speak_only_of_what_is_wrong(capsys: pytest.CaptureFixture[str], name: str) -> None:
    configure_logging(JSON)
    logging.getLogger(name).info("GET /health 200")
    logging.getLogger(name).error("can't")
    assert [line["event"] for line in lines(capsys)] == ["can't"]


def test_uvicorns_errors_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler())
    configure_logging(JSON)
    logging.getLogger("uvicorn.error").error("it fell over")
    assert [line["event"] for line in lines(capsys)] == ["it fell over"]


def test_people_get_lines_they_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="console"))
    structlog.get_logger("here").warning("hint_lost", images=3)
    err = capsys.readouterr().err
    assert "hint_lost" in err
    with pytest.raises(ValueError, match=r"."):
        json.loads(err)


def test_what_is_no_terminal_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="auto"))
    structlog.get_logger("here").info("said")
    assert lines(capsys)[0]["event"] == "said"


def test_nothing_fails_because_there_is_no_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)  # as Python has it for a process that was started without
    configure_logging(JSON)
    structlog.get_logger("here").info("said")


@pytest.mark.parametrize("broken", [OSError("no space left on device"), ValueError("I/O operation on closed file")])
def test_nothing_fails_because_its_line_can_not_be_written(monkeypatch: pytest.MonkeyPatch, broken: Exception) -> None:
    class Stream(StringIO):
        def write(self, _: str, /) -> int:
            raise broken

    monkeypatch.setattr("sys.stderr", Stream())
    configure_logging(JSON)
    structlog.get_logger("here").info("said")


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_fails_because_no_line_can_be_made_of_it(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "console"]
) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("go away")

    configure_logging(LogSettings(format=form))
    structlog.get_logger("here").info("said", by=Shy())
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in ("line_lost", "said", "RuntimeError", "here"))
    assert re.search(r"\d{4}-\d\d-\d\dT", line), "lines are sorted by when they were written"


def test_lines_of_ours_and_of_libraries_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    def could_write() -> bool:
        lock = logging.getLogger().handlers[0].lock
        assert lock is not None
        if free := lock.acquire(blocking=False):
            lock.release()
        return free

    class Stream(StringIO):
        def write(self, _: str, /) -> int:
            with ThreadPoolExecutor(1) as another:
                others_could.append(another.submit(could_write).result())
            return 0

    others_could: list[bool] = []
    monkeypatch.setattr("sys.stderr", Stream())
    configure_logging(JSON)
    structlog.get_logger("ours").info("said")
    logging.getLogger("theirs").info("said")
    assert others_could == [False, False]


def test_configuring_twice_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(JSON)
    configure_logging(JSON)
    logging.getLogger("theirs").info("once")
    assert len(lines(capsys)) == 1


def test_a_collectors_headers_that_can_not_be_read_are_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(JSON)
    assert parse_env_headers("api-key hush", liberal=True) == {}
    (line,) = lines(capsys)
    assert line["event"].startswith("Header format invalid!")
    assert "hush" not in str(line)
