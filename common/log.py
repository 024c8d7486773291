"""Logging: one format for our records and those of libraries; lines for people in a terminal, JSON otherwise.

Use: `log = structlog.get_logger(__name__)`, then a static event name plus fields:
`log.info("image_indexed", image_id=…)`. Call `configure_logging` once, at the start of a process.

Records of libraries come through the standard library's `logging`. Ours do not, which takes them half the time: a line
for each request is some of what a request takes.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from common import tracing
from common.settings import LogSettings

_FIRST = ("timestamp", "level", "event")


def _add_trace(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Name the trace that a line belongs to, if it is recorded."""
    return {**event, **tracing.ids()}


def _in_order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Begin a line with what it is about."""
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return {**first, **event}


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    _add_trace,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# Local variables stay out of tracebacks: they may hold credentials.
_JSON_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class _Rendering:
    """The last processor: makes a line of an event."""

    def __init__(self, steps: Sequence[Processor]) -> None:
        self._steps = steps

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        try:
            return self._render(logger, method, dict(event))  # a copy, which the steps take apart
        except Exception as error:  # noqa: BLE001 - of a value that can't be shown: no reason to fail who wanted to
            lost = {name: event[name] for name in ("timestamp", "logger", "request_id") if name in event}
            lost |= {"level": "error", "event": "line_lost", "of": str(event.get("event"))}
            return self._render(logger, method, lost | {"error": type(error).__name__})

    def _render(self, logger: Any, method: str, event: EventDict) -> str:
        line: Any = event
        for step in self._steps:
            line = step(logger, method, line)
        return str(line)


_named_by_caller = structlog.stdlib.LoggerFactory(ignore_frame_names=[__name__])


class _Lines:
    """Where the lines of one of our loggers go: to the stream of a handler, between the lines of that."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]", name: str | None = None) -> None:
        """Take a handler and the logger's name; None, as extensions may have it: that of the module which logs."""
        self.name = name or _named_by_caller().name
        self._handler = handler

    def _write(self, line: str) -> None:
        self._handler.acquire()
        try:
            # As with handlers themselves: that nobody takes a line is no reason to fail what it tells of.
            with suppress(Exception):
                self._handler.stream.write(f"{line}\n")
        finally:
            self._handler.release()

    debug = info = warning = error = critical = _write


def configure_logging(settings: LogSettings) -> None:
    """Send all records of this process, ours and foreign ones, to stderr in one format."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [_JSON_TRACEBACKS, _in_order, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    structlog.configure(
        processors=[*_SHARED, _Rendering(rendering)],
        logger_factory=partial(_Lines, handler),
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    _quieten()


def _quieten() -> None:
    """Let libraries speak through the root handler alone, and only about what is wrong."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "arq"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in ("uvicorn.access", "httpx", "httpcore", "arq.worker", "alembic.runtime.migration", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("opentelemetry.util.re").addFilter(_without_values)  # of a collector's headers: keys


def _without_values(record: logging.LogRecord) -> bool:
    """Take the values out of a foreign record that quotes what may be secret."""
    record.args = tuple("…" for _ in record.args or ())
    return True
