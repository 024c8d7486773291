"""What a request leaves in any service: its id in the answer and the log, a line, and a span below its caller's."""

import asyncio

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict

from common.trail import RequestTrail
from tests.fixtures.tracing import context_of, kept_spans

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
DEFECT = JSONResponse({"code": "internal_error"}, 500)


async def answer(request: Request) -> Response:
    if request.path_params.get("id") == "broken":
        raise KeyError("hunter2")
    return JSONResponse({}, 503 if request.path_params.get("id") == "down" else 200)


def create_app() -> ASGIApp:
    inner = Starlette(routes=[Route("/things/{id}", answer), Route("/health", answer)])
    return RequestTrail(inner.router, defect=DEFECT)


async def unheard() -> Message:
    raise AssertionError("nobody asks what the client has to say")


async def unsaid(_: Message) -> None:
    raise AssertionError("nothing is answered")


async def ask(path: str, headers: dict[str, str] | None = None) -> tuple[httpx.Response, list[EventDict]]:
    transport = httpx.ASGITransport(create_app())
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.get(path, headers=headers), logs


@pytest.mark.parametrize("path", ["/things/1", "/things/broken", "/nowhere"])
async def test_the_id_is_answered_and_logged(path: str) -> None:
    response, logs = await ask(path, {"X-Request-ID": "r-1"})
    assert response.headers["x-request-id"] == "r-1"
    assert {entry["request_id"] for entry in logs} == {"r-1"}


async def test_an_access_line_has_the_routes_template() -> None:
    _, (line,) = await ask("/things/7")
    assert line.pop("ms") >= 0
    assert line.pop("request_id")
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/things/{id}",
        "status": 200,
    }


async def test_probes_are_logged_at_debug_and_not_traced() -> None:
    with kept_spans() as spans:
        _, (line,) = await ask("/health")
    assert (line["log_level"], spans.names) == ("debug", [])


async def test_a_defect_is_logged_with_the_id_and_answered() -> None:
    response, (defect, line) = await ask("/things/broken")
    assert (defect["event"], defect["exc_info"]) == ("defect", True)
    assert defect["request_id"] == line["request_id"] == response.headers["x-request-id"]
    assert response.status_code == line["status"] == 500


async def test_without_an_answer_to_defects_they_go_on_to_the_server() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise KeyError("hunter2")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with structlog.testing.capture_logs() as logs, pytest.raises(KeyError):
        await RequestTrail(broken)(scope, unheard, unsaid)
    assert [(entry["event"], entry.get("status")) for entry in logs] == [("defect", None), ("request", 500)]


async def test_a_request_that_nobody_waits_for_is_told_as_such() -> None:
    async def endless(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    ended: list[tuple[str, str, int]] = []
    trail = RequestTrail(endless, on_end=lambda *end: ended.append(end[:3]))
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with structlog.testing.capture_logs() as logs:
        asking = asyncio.ensure_future(trail(scope, unheard, unsaid))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
    assert [entry["status"] for entry in logs] == [499]
    assert ended == [("GET", "unmatched", 499)], "it is counted as it is logged"


async def test_a_span_goes_on_with_its_callers_trace() -> None:
    with kept_spans() as spans:
        await ask("/things/7", {"traceparent": PARENT, "X-Request-ID": "r-1"})
    span = spans.named("GET /things/{id}")
    assert span.parent is not None
    assert (f"{span.parent.trace_id:x}", f"{span.parent.span_id:x}") == (
        "123456789abcdef0123456789abcdef",
        "123456789abcdef",
    )
    assert context_of(span).trace_id == span.parent.trace_id
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/things/{id}",
        "http.response.status_code": 200,
        "likeness.request_id": "r-1",
    }


@pytest.mark.parametrize("given", ["", "nonsense", PARENT.replace("-", "_"), "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_a_strange_traceparent_begins_a_trace(given: str) -> None:
    with kept_spans() as spans:
        await ask("/things/7", {"traceparent": given})
    assert spans.named("GET /things/{id}").parent is None


@pytest.mark.parametrize(("path", "failed"), [("/things/1", False), ("/things/down", True), ("/things/broken", True)])
async def test_a_span_says_whether_the_request_failed(path: str, failed: bool) -> None:
    with kept_spans() as spans:
        await ask(path)
    span = spans.named("GET /things/{id}")
    assert (not span.status.is_ok) == failed
    assert "hunter2" not in span.to_json()
