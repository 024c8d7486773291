"""Traces: which steps a request was made of, in every process it reached, and how long each took.

`span` is all that other modules need. Off, which is the default, it hands out one object that does nothing, and nothing
of OpenTelemetry is imported; `common/opentelemetry_spans.py` does the work where `TRACING__EXPORTER` asks for it.

Attributes are ids, counts, names of routes, stages and stores: no file names, no texts, no addresses.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from common.settings import TracingSettings

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Carrier = Mapping[str, str]
"""Where a trace goes on: `traceparent` as the W3C has it; empty without one."""
Origin = Any
"""Where a trace stands, as `here` says it."""

IMAGE_ID = "likeness.image_id"
BATCH_SIZE = "likeness.batch_size"
OPERATION = "likeness.operation"


class Span(Protocol):
    """A step under way; a context manager that ends it. An exception that leaves it is noted by its name alone."""

    def __enter__(self) -> Self:
        """Begin: spans made inside are its children."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End."""

    def rename(self, name: str) -> None:
        """Call it something else, that was not known when it began."""

    def note(self, attributes: Mapping[str, str | int]) -> None:
        """Add attributes."""

    def fail(self, kind: str) -> None:
        """Mark it as failed, by a short name of what went wrong."""


class Tracer(Protocol):
    """What makes spans, and takes them across processes and batches."""

    def span(self, name: str, kind: Kind, attributes: Mapping[str, str | int]) -> Span:
        """Make a span below the current one; none of a `client` kind where there is none: loops ask stores for ever."""

    def carrier(self) -> dict[str, str]:
        """Say, for another process, where the trace stands."""

    def resume(self, carrier: Carrier) -> AbstractContextManager[object]:
        """Go on inside with the trace of a carrier; what can't be read is none."""

    def here(self) -> Origin | None:
        """Say where the trace stands; None where there is none."""

    def joint(self, name: str, origins: Sequence[Origin], attributes: Mapping[str, str | int]) -> Span:
        """Make a span of what is done for several: below the first that is recorded, with links to the others."""

    def ids(self) -> Mapping[str, str]:
        """Return the ids of a trace that is recorded, for log lines."""


class _NoSpan:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def note(self, attributes: Mapping[str, str | int]) -> None:
        pass

    def fail(self, kind: str) -> None:
        pass


NO_SPAN = _NoSpan()
"""A span that is none."""
_NOTHING: Mapping[str, str | int] = {}
_tracer: Tracer | None = None
"""Of this process, as its logging is."""


def span(name: str, kind: Kind = "internal", attributes: Mapping[str, str | int] = _NOTHING) -> Span:
    """Make a span below the current one; it begins when it is entered."""
    return NO_SPAN if _tracer is None else _tracer.span(name, kind, attributes)


def carrier() -> dict[str, str]:
    """Say, for another process, where the trace stands; empty if there is none."""
    return {} if _tracer is None else _tracer.carrier()


def resume(carrier: Carrier) -> AbstractContextManager[object]:
    """Go on inside with the trace of a carrier, or of headers that have one."""
    return nullcontext() if _tracer is None else _tracer.resume(carrier)


def here() -> Origin | None:
    """Say, for a batch of this process, where the trace stands; None if there is none."""
    return None if _tracer is None else _tracer.here()


def joint(name: str, origins: Sequence[Origin | None], attributes: Mapping[str, str | int] = _NOTHING) -> Span:
    """Make a span of what is done for several callers at once; it is a child of the first's, and linked to the rest."""
    known = [origin for origin in origins if origin is not None]
    return _tracer.joint(name, known, attributes) if _tracer is not None and known else NO_SPAN


def ids() -> Mapping[str, str]:
    """Return `trace_id` and `span_id` for log lines; empty where nothing is recorded."""
    return {} if _tracer is None else _tracer.ids()


@contextmanager
def started(settings: TracingSettings, service: str) -> Iterator[None]:
    """Trace this process inside, as it is configured; at the end what is left is sent, within seconds, or lost."""
    if settings.exporter == "none":
        yield
        return
    # Takes a quarter of a second, and some memory.
    from common.opentelemetry_spans import exporting  # noqa: PLC0415

    with exporting(settings, service) as tracer, installed(tracer):
        yield


@contextmanager
def installed(tracer: Tracer) -> Iterator[None]:
    """Have this process's spans made by a tracer inside."""
    global _tracer  # noqa: PLW0603 - one for the process, as with logging
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before
