"""What the embedder leaves in its log: the caller's id on every line about a request, also from the model's thread."""

import httpx
import numpy as np
import pytest
import structlog
from structlog.typing import EventDict

from common.embedding import COUNT_HEADER, SIZE_HEADER
from embedder.decoder import ImageDecoder
from tests.fakes.clip_model import SIZE, FakeClipModel
from tests.fixtures.tracing import context_of, kept_spans
from tests.unit.embedder.conftest import Served

PIXELS = np.zeros((1, SIZE, SIZE, 3), np.uint8).tobytes()


async def encode(served: Served) -> tuple[httpx.Response, list[EventDict]]:
    headers = {
        "Content-Type": "application/octet-stream",
        COUNT_HEADER: "1",
        SIZE_HEADER: str(SIZE),
        "X-Request-ID": "r-1",
    }
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        return await served.http.post("/encode/pixels", content=PIXELS, headers=headers), logs


async def test_a_request_is_one_line_with_its_callers_id(served: Served) -> None:
    response, (line,) = await encode(served)
    assert response.headers["x-request-id"] == "r-1"
    assert (line["event"], line["request_id"], line["route"], line["status"]) == (
        "request",
        "r-1",
        "/encode/pixels",
        200,
    )


async def test_a_failure_of_the_model_names_the_request(served: Served, model: FakeClipModel) -> None:
    model.failure = RuntimeError("out of memory")
    response, logs = await encode(served)
    assert response.status_code == 503
    assert {"model_failed", "request_failed", "request"} == {line["event"] for line in logs}
    assert {line["request_id"] for line in logs} == {"r-1"}


async def test_a_defect_is_a_problem_with_the_requests_id(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(ImageDecoder, "decode", broken)
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        response = await served.http.post("/encode", content=b"x", headers={"Content-Type": "image/png"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "hunter2" not in response.text
    assert [line["event"] for line in logs] == ["defect", "request"]
    assert {line["request_id"] for line in logs} == {response.headers["x-request-id"]}


async def test_the_models_batch_is_below_the_request(served: Served) -> None:
    with kept_spans() as spans:
        await encode(served)
    assert spans.named("batch").parent == context_of(spans.named("POST /encode/pixels"))
