"""`common.tracing` by OpenTelemetry's SDK. Only this module imports it, and only where traces are on.

Spans are put in a queue of 2,048, which a thread of its own sends. When the collector is away or slow, the queue fills
and spans are dropped: no request ever waits for it.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.settings import TracingSettings
from common.tracing import NO_SPAN, Carrier, Kind, Span

_TRACEPARENT = "traceparent"
_EXPORT_TIMEOUT_S = 5.0
_COMPLAINTS_S = 60.0
"""Pause between two log lines about a collector that is away: it would be one or two each second."""
_LAST_WORDS_S = 2.0
"""How long the end of a process waits for what is still to be sent."""
_PROPAGATOR = TraceContextTextMapPropagator()


class OpenTelemetry:
    """A `Tracer` that hands its spans to a processor."""

    def __init__(self, service: str, processor: SpanProcessor, *, ratio: float = 1.0) -> None:
        """Create a tracer.

        Args:
            service: names the process in the traces.
            processor: gets the spans.
            ratio: share of traces that is recorded. It is decided by the trace's id, so processes with the same ratio
                agree. A caller that does not record its trace is followed; that it does is no reason for us.
        """
        share = TraceIdRatioBased(ratio)
        self._provider = TracerProvider(
            sampler=ParentBased(share, remote_parent_sampled=share),
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,  # which may take half a minute
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("likeness")

    def span(self, name: str, kind: Kind, attributes: Mapping[str, str | int]) -> Span:
        """See `Tracer`."""
        if kind == "client" and not _current().trace_flags.sampled:
            return NO_SPAN
        return _Span(self._tracer, name, SpanKind[kind.upper()], attributes)

    def carrier(self) -> dict[str, str]:
        """See `Tracer`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return {name: value for name, value in carrier.items() if name == _TRACEPARENT}

    @contextmanager
    def resume(self, carrier: Carrier) -> Iterator[None]:
        """See `Tracer`. Other vendors' `tracestate`, which strangers could fill, is left behind."""
        given = carrier.get(_TRACEPARENT)
        token = context.attach(_PROPAGATOR.extract({_TRACEPARENT: given} if isinstance(given, str) else {}))
        try:
            yield
        finally:
            context.detach(token)

    def here(self) -> SpanContext | None:
        """See `Tracer`."""
        current = _current()
        return current if current.is_valid else None

    def joint(self, name: str, origins: Sequence[SpanContext], attributes: Mapping[str, str | int]) -> Span:
        """See `Tracer`."""
        recorded = {origin.span_id: origin for origin in origins if origin.trace_flags.sampled}
        # Where none is, what follows, the embedder too, must know that: it would begin a trace of its own.
        first, *others = recorded.values() or origins[:1]
        parent = trace.set_span_in_context(NonRecordingSpan(first))
        return _Span(self._tracer, name, SpanKind.INTERNAL, attributes, parent, list(map(Link, others)))

    def ids(self) -> Mapping[str, str]:
        """See `Tracer`."""
        current = _current()
        if not current.trace_flags.sampled:
            return {}
        return {"trace_id": trace.format_trace_id(current.trace_id), "span_id": trace.format_span_id(current.span_id)}

    def close(self) -> bool:
        """Send what is left, for a few seconds at most; tell whether that is done."""
        # Not by the SDK's own deadline: that is no bound on an export that is under way.
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(_LAST_WORDS_S)
        return not ending.is_alive()


class _Span:
    __slots__ = ("_arguments", "_name", "_span", "_token", "_tracer")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str | int],
        parent: Context | None = None,
        links: Sequence[Link] = (),
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._arguments = (parent, kind, attributes, links)

    def __enter__(self) -> Self:
        parent, kind, attributes, links = self._arguments
        self._span = self._tracer.start_span(self._name, parent, kind, attributes, links)
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        context.detach(self._token)
        if isinstance(error, Exception):
            self.fail(type(error).__name__)  # not its message, which may quote what is nobody's business
        self._span.end()

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


def _current() -> SpanContext:
    return trace.get_current_span().get_span_context()


@contextmanager
def exporting(settings: TracingSettings, service: str) -> Iterator[OpenTelemetry]:
    """Make a tracer as it is configured, and close it."""
    exporter = _create_exporter(settings)
    tracer = OpenTelemetry(service, BatchSpanProcessor(exporter), ratio=settings.ratio)
    try:
        yield tracer
    finally:
        if not tracer.close():
            exporter.shutdown()  # or it would go on trying for a while


class _Seldom(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._again_at = 0.0

    def filter(self, _record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._again_at:
            return False
        self._again_at = now + _COMPLAINTS_S
        return True


def _create_exporter(settings: TracingSettings) -> SpanExporter:
    if settings.exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
    exporter_log = logging.getLogger(OTLPSpanExporter.__module__)
    exporter_log.filters[:] = [_Seldom()]
    return OTLPSpanExporter(endpoint=settings.endpoint, timeout=_EXPORT_TIMEOUT_S)
