"""Traces: nothing where they are off; where they are on, they connect, hold nobody up, and give nothing away."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from pydantic import ValidationError

from common import tracing
from common.log import configure_logging
from common.settings import LogSettings, TracingSettings
from tests.fixtures.silence import silent_server
from tests.fixtures.tracing import context_of, kept_spans

IMPORTS_NOTHING = """
import sys
import common.batcher, common.jobs, common.log, common.trail
from common import tracing
from common.settings import TracingSettings
with tracing.started(TracingSettings(), "tests"), tracing.span("nothing"):
    sys.exit(any(name.partition(".")[0] == "opentelemetry" for name in sys.modules))
"""


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Wait for what still tries to send: it would draw random numbers in the middle of other tests."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread.name


def test_off_nothing_of_opentelemetry_is_imported() -> None:
    assert subprocess.run([sys.executable, "-c", IMPORTS_NOTHING], check=False).returncode == 0


def test_off_there_is_nothing_to_carry_and_every_span_is_the_same() -> None:
    with tracing.span("one") as one, tracing.joint("two", [tracing.here()]) as two, tracing.resume({}):
        one.rename("other")
        one.note({"a": 1})
        one.fail("broken")
        assert one is two
        assert (tracing.carrier(), tracing.ids(), tracing.here()) == ({}, {}, None)


def test_spans_nest() -> None:
    with kept_spans() as spans, tracing.span("outer"), tracing.span("inner", "client", {"n": 1}):
        pass
    assert spans.names == ["inner", "outer"]
    assert spans.named("inner").parent == context_of(spans.named("outer"))
    assert spans.named("outer").parent is None


def test_a_store_that_is_asked_outside_of_a_trace_is_none() -> None:
    with kept_spans() as spans, tracing.span("postgresql read", "client") as span:
        span.note({"a": 1})
    assert spans.names == []


def test_a_trace_goes_on_elsewhere() -> None:
    with kept_spans() as spans:
        with tracing.span("here"):
            carried = json.loads(json.dumps(tracing.carrier()))
        with tracing.resume(carried), tracing.span("there"):
            pass
    assert list(carried) == ["traceparent"]
    parent, here = spans.named("there").parent, context_of(spans.named("here"))
    assert parent is not None
    assert (parent.trace_id, parent.span_id) == (here.trace_id, here.span_id)


@pytest.mark.parametrize("carried", [{}, {"traceparent": "nonsense"}, {"traceparent": 7}, {"tracestate": "a=b"}])
def test_what_can_not_be_read_is_no_trace(carried: dict[str, str]) -> None:
    with kept_spans() as spans, tracing.resume(carried), tracing.span("there"):
        assert "tracestate" not in tracing.carrier()
    assert spans.named("there").parent is None


def test_a_batch_is_below_the_first_and_linked_to_the_rest() -> None:
    origins = []
    with kept_spans() as spans:
        for name in ("one", "two", "three"):
            with tracing.span(name):
                origins += [tracing.here()] * 2
        with tracing.joint("batch", [None, *origins], {tracing.BATCH_SIZE: 7}), tracing.span("store", "client"):
            pass
    batch = spans.named("batch")
    assert batch.parent == context_of(spans.named("one"))
    assert [link.context for link in batch.links] == [context_of(spans.named(name)) for name in ("two", "three")]
    assert spans.named("store").parent == context_of(batch)


def test_a_share_is_recorded_and_nobody_outside_can_have_more() -> None:
    asked = {"traceparent": "00-ffffffffffffffffffffffffffffffff-0123456789abcdef-01"}
    with kept_spans(ratio=0) as spans, tracing.resume(asked), tracing.span("outer") as span:
        span.fail("broken")
        with tracing.joint("batch", [tracing.here()]), tracing.span("store", "client"):
            assert tracing.ids() == {}
            assert tracing.carrier()["traceparent"].endswith("0"), "who is called records nothing either"
    assert spans.all == ()


def test_a_batch_is_part_of_a_trace_that_is_recorded_if_any_is() -> None:
    origins = []
    with kept_spans(ratio=0), tracing.span("not recorded"):
        origins.append(tracing.here())
    with kept_spans() as spans:
        with tracing.span("recorded"):
            origins.append(tracing.here())
        with tracing.joint("batch", origins):
            pass
    batch = spans.named("batch")
    assert (batch.parent, batch.links) == (context_of(spans.named("recorded")), ())


def test_an_error_is_noted_by_its_name_alone() -> None:
    with kept_spans() as spans:
        with pytest.raises(ValueError, match="hunter2"), tracing.span("failing"):
            raise ValueError("hunter2")
        assert tracing.here() is None
    failed: ReadableSpan = spans.named("failing")
    assert not failed.status.is_ok
    assert failed.attributes == {"error.type": "ValueError"}
    assert "hunter2" not in failed.to_json()


@pytest.mark.usefixtures("keep_logging")
@pytest.mark.parametrize("get_logger", [structlog.get_logger, logging.getLogger], ids=["ours", "theirs"])
def test_log_lines_name_their_trace(capsys: pytest.CaptureFixture[str], get_logger: Callable[[str], Any]) -> None:
    configure_logging(LogSettings(format="json"))
    with kept_spans() as spans:
        get_logger("somewhere").info("outside")
        with tracing.span("here"):
            get_logger("somewhere").info("inside")
    outside, inside = map(json.loads, capsys.readouterr().err.splitlines())
    context = context_of(spans.named("here"))
    assert "trace_id" not in outside
    assert (inside["trace_id"], inside["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")


@pytest.mark.parametrize("kind", ["nobody", "silent"])
def test_a_collector_that_is_away_holds_nobody_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.opentelemetry_spans._LAST_WORDS_S", 0.1)
    with silent_server() as port:
        endpoint = f"http://127.0.0.1:{1 if kind == 'nobody' else port}/v1/traces"
        with tracing.started(TracingSettings(exporter="otlp", endpoint=endpoint), "tests"):
            for _ in range(5_000):  # more than the queue takes
                with tracing.span("busy"):
                    pass
    assert tracing.here() is None


def test_spans_can_be_read_on_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    with tracing.started(TracingSettings(exporter="console"), "likeness-tests"), tracing.span("seen"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    span = json.loads(line)
    assert (span["name"], span["resource"]["attributes"]["service.name"]) == ("seen", "likeness-tests")


@pytest.mark.parametrize("wrong", [{"endpoint": "http://user:hunter2@collector/"}, {"ratio": 2}, {"exporter": "yes"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TracingSettings.model_validate(wrong)


class _Collector(BaseHTTPRequestHandler):
    received: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
        self.received.extend(span.name for span in spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is there
        """Say nothing."""


def test_a_collector_gets_the_spans_at_the_latest_at_the_end() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        with tracing.started(TracingSettings(exporter="otlp", endpoint=endpoint), "tests"), tracing.span("seen"):
            pass
        server.shutdown()
        serving.join()
    assert _Collector.received == ["seen"]


def test_trouble_with_the_collector_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    with tracing.started(TracingSettings(exporter="otlp", endpoint="http://127.0.0.1:1/"), "tests"):
        for number in range(3):
            logging.getLogger(OTLPSpanExporter.__module__).error("can't send, %d", number)
    assert [record.getMessage() for record in caplog.records] == ["can't send, 0"]
