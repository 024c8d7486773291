"""What the client makes of every kind of answer. `tests/unit/embedder` runs it against the application."""

import asyncio
import json
from collections.abc import Callable

import httpx
import numpy as np
import pytest
import structlog

from common import correlation, tracing
from common.breakers import Breaker
from common.embedder_client import EmbedderClient
from common.embedding import COUNT_HEADER, DIM_HEADER, MAX_IMAGES, MAX_TEXTS, MODEL_HEADER, SIZE_HEADER
from common.errors import (
    EmbedderUnavailable,
    EmbeddingInvalid,
    ImageRejected,
    ImageTooLarge,
    ImageUnreadable,
    InvalidInput,
    Overloaded,
    UnknownModel,
    UnsupportedMedia,
)
from common.settings import BreakerSettings, EmbedderClientSettings
from tests.fixtures.tracing import kept_spans, traceparent_of

MODEL = {
    "name": "m",
    "pretrained": "p",
    "dim": 2,
    "image_size": 4,
    "preprocess": {"size": 4},
    "preprocess_version": 1,
    "context_length": 77,
    "device": "cpu",
    "precision": "fp32",
}
IMAGE = np.zeros((4, 4, 3), np.uint8)
UNIT = [0.6, 0.8]

Handler = Callable[[httpx.Request], httpx.Response]


def create_client(answer: Handler, *, timeout_s: float = 5, model: dict[str, object] | None = None) -> EmbedderClient:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=model or MODEL) if request.url.path == "/model" else answer(request)

    settings = EmbedderClientSettings(url="http://embedder", timeout_s=timeout_s)
    return EmbedderClient(settings, transport=httpx.MockTransport(handle))


def vectors_answer(vectors: list[list[float]], **headers: str) -> httpx.Response:
    rows = np.array(vectors, dtype="<f4")
    usual = {COUNT_HEADER: str(len(vectors)), DIM_HEADER: "2", MODEL_HEADER: "m/p"}
    return httpx.Response(200, content=rows.tobytes(), headers=usual | headers)


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": f"about {code}"}, headers=headers)


async def test_pixels_travel_raw_and_are_split_into_requests() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return vectors_answer([UNIT] * int(request.headers[COUNT_HEADER]))

    images = [np.full((4, 4, 3), i % 256, np.uint8) for i in range(MAX_IMAGES + 1)]
    async with create_client(answer) as client:
        vectors = await client.encode_pixels(images)

    assert len(vectors) == MAX_IMAGES + 1
    assert all(vector.dtype == np.float32 and vector.shape == (2,) for vector in vectors)
    assert [request.headers[COUNT_HEADER] for request in requests] == [str(MAX_IMAGES), "1"]
    assert {request.headers[SIZE_HEADER] for request in requests} == {"4"}
    assert b"".join(request.content for request in requests) == np.stack(images).tobytes()


async def test_texts_are_split_into_requests_and_keep_their_order() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["texts"]
        rows = [[np.cos(int(text)), np.sin(int(text))] for text in texts]
        return httpx.Response(
            200, json={"embeddings": rows, "truncated": [False] * len(rows), "model": "m/p", "dim": 2}
        )

    async with create_client(answer) as client:
        vectors = await client.encode_texts([str(i) for i in range(MAX_TEXTS + 3)])

    numbers = np.arange(MAX_TEXTS + 3)
    assert np.allclose(np.stack(vectors), np.stack([np.cos(numbers), np.sin(numbers)], axis=1), atol=1e-6)


async def test_templates_share_a_request_and_cut_texts_are_told() -> None:
    sent: list[tuple[int, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        texts = body["texts"]
        sent.append((len(texts), len(body["templates"])))
        cut = [text == "long" for text in texts]
        return httpx.Response(200, json={"embeddings": [UNIT] * len(texts), "truncated": cut, "model": "m/p", "dim": 2})

    async with create_client(answer) as client:
        embedded = await client.embed_texts(["a"] * 9 + ["long"], templates=["a photo of a {}"] * 10)

    assert sent == [(6, 10), (4, 10)]
    assert [text.truncated for text in embedded] == [False] * 9 + [True]


async def test_nothing_asked_nothing_sent() -> None:
    async with create_client(lambda _request: problem(500, "unexpected")) as client:
        assert await client.encode_pixels([]) == []
        assert await client.encode_texts([]) == []


@pytest.mark.parametrize(
    "answer",
    [
        vectors_answer([UNIT, UNIT]),
        vectors_answer([]),
        vectors_answer([UNIT], **{COUNT_HEADER: "2"}),
        vectors_answer([UNIT], **{DIM_HEADER: "3"}),
        vectors_answer([UNIT], **{MODEL_HEADER: "m/another"}),
        vectors_answer([[float("nan"), 1.0]]),
        vectors_answer([[float("inf"), 1.0]]),
        vectors_answer([[0.0, 0.0]]),
        vectors_answer([[3.0, 4.0]]),
        httpx.Response(200, content=b"short", headers={COUNT_HEADER: "1", DIM_HEADER: "2", MODEL_HEADER: "m/p"}),
        httpx.Response(200, text="<html>a proxy's page</html>"),
        httpx.Response(500, text="oops"),
        httpx.Response(204),
        httpx.Response(302, headers={"Location": "http://elsewhere/"}),
        problem(503, "embedder_not_ready"),
        problem(422, "wrong_length"),
        problem(413, "body_too_large"),
    ],
)
async def test_an_answer_to_pixels_that_cant_be_right_is_refused(answer: httpx.Response) -> None:
    async with create_client(lambda _request: answer) as client:
        with pytest.raises(EmbedderUnavailable):
            await client.encode_pixels([IMAGE])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (vectors_answer([UNIT, [float("nan"), 1.0]]), EmbeddingInvalid),
        (vectors_answer([UNIT, [3.0, 4.0]]), EmbeddingInvalid),
        (vectors_answer([UNIT]), EmbeddingInvalid),
        (vectors_answer([UNIT, UNIT], **{DIM_HEADER: "3"}), EmbedderUnavailable),
        (vectors_answer([UNIT, UNIT], **{MODEL_HEADER: "m/another"}), EmbedderUnavailable),
        (problem(503, "model_failed"), EmbedderUnavailable),
    ],
    ids=["nan", "not normalised", "too few", "dim", "model", "failed"],
)
async def test_an_answer_that_one_image_may_have_spoilt_is_told_from_others(
    answer: httpx.Response, kind: type[EmbedderUnavailable]
) -> None:
    async with create_client(lambda _request: answer) as client:
        with pytest.raises(EmbedderUnavailable) as caught:
            await client.encode_pixels([IMAGE, IMAGE])

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "body",
    [
        {"embeddings": [UNIT, UNIT], "truncated": [False], "model": "m/p", "dim": 2},
        {"embeddings": [[1.0, 0.0, 0.0]], "truncated": [False], "model": "m/p", "dim": 2},
        {"embeddings": [[0.1, 0.1]], "truncated": [False], "model": "m/p", "dim": 2},
        {"embeddings": [UNIT], "truncated": [False], "model": "other/p", "dim": 2},
        {"embeddings": [UNIT], "truncated": [], "model": "m/p", "dim": 2},
        {"embeddings": None, "truncated": [False], "model": "m/p", "dim": 2},
        {},
        [],
    ],
)
async def test_an_answer_to_texts_that_cant_be_right_is_refused(body: object) -> None:
    async with create_client(lambda _request: httpx.Response(200, json=body)) as client:
        with pytest.raises(EmbedderUnavailable):
            await client.encode_texts(["a"])


async def test_another_model_is_refused_until_asked_for() -> None:
    model: dict[str, object] = dict(MODEL)
    async with create_client(lambda _request: vectors_answer([UNIT], **{MODEL_HEADER: "m/new"}), model=model) as client:
        assert (await client.model()).label == "m/p"
        model["pretrained"] = "new"
        with pytest.raises(EmbedderUnavailable, match=r"expected vectors of m/p.*answered with m/new"):
            await client.encode_pixels([IMAGE])
        assert (await client.model()).label == "m/new"
        assert len(await client.encode_pixels([IMAGE])) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (problem(415, "unsupported_media"), UnsupportedMedia, "unsupported_media"),
        (problem(413, "image_too_many_pixels"), ImageTooLarge, "image_too_many_pixels"),
        (problem(413, "body_too_large"), ImageTooLarge, "body_too_large"),
        (problem(422, "image_truncated"), ImageUnreadable, "image_truncated"),
        (problem(422, "image_rejected"), ImageRejected, "image_rejected"),
    ],
)
async def test_a_rejected_image_keeps_its_kind_and_code(
    answer: httpx.Response, kind: type[ImageRejected], code: str
) -> None:
    async with create_client(lambda _request: answer) as client:
        with pytest.raises(kind) as caught:
            await client.encode_image(b"bytes")

    assert caught.value.code == code


@pytest.mark.parametrize("answer", [problem(422, "invalid_input"), httpx.Response(413, text="nginx says no")])
async def test_only_the_embedder_rejects_images(answer: httpx.Response) -> None:
    async with create_client(lambda _request: answer) as client:
        with pytest.raises(EmbedderUnavailable):
            await client.encode_image(b"bytes")


async def test_an_image_comes_back_as_a_vector() -> None:
    body = {"embedding": UNIT, "model": "m/p", "dim": 2}
    async with create_client(lambda _request: httpx.Response(200, json=body)) as client:
        assert (await client.encode_image(b"bytes")).tolist() == pytest.approx(UNIT)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", 1.0), ("-3", 0.0)])
async def test_overload_says_when_to_come_back(header: str, seconds: float) -> None:
    async with create_client(lambda _request: problem(429, "overloaded", **{"Retry-After": header})) as client:
        with pytest.raises(Overloaded) as caught:
            await client.encode_pixels([IMAGE])

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadError(""), httpx.RemoteProtocolError("x")])
async def test_a_broken_connection_means_unavailable(error: Exception) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    async with create_client(fail) as client:
        with pytest.raises(EmbedderUnavailable):
            await client.encode_texts(["a"])
        assert (await client.ready()).status == "unreachable"


async def test_the_deadline_counts_for_the_whole_call() -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    settings = EmbedderClientSettings(url="http://embedder", timeout_s=0.05)
    async with EmbedderClient(settings, transport=httpx.MockTransport(never)) as client:
        with pytest.raises(EmbedderUnavailable, match="TimeoutError"):
            await client.model()


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (lambda: problem(500, "internal_error"), True),
        (lambda: problem(503, "not_ready"), True),
        (lambda: problem(429, "overloaded"), False),
        (lambda: problem(422, "image_corrupt"), False),
        (lambda: vectors_answer([[float("nan"), 0.0]]), False),
    ],
    ids=["500", "503", "429", "422", "nan"],
)
async def test_only_an_embedder_that_is_down_opens_the_breaker(
    answer: Callable[[], httpx.Response], opens: bool
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=MODEL) if request.url.path == "/model" else answer()

    breaker = Breaker("embedder", EmbedderUnavailable, BreakerSettings(failures=2, pause_s=3600), lambda _: None)
    settings = EmbedderClientSettings(url="http://embedder")
    async with EmbedderClient(settings, breaker=breaker, transport=httpx.MockTransport(handle)) as client:
        await client.model()
        for _ in range(2):
            with pytest.raises((EmbedderUnavailable, Overloaded)):
                await client.encode_pixels([IMAGE])
        assert breaker.closed is not opens
    await breaker.close()


async def test_the_breaker_is_closed_by_an_embedder_that_is_ready() -> None:
    ready: list[bool] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/ready":
            return problem(503, "not_ready")
        ready.append(len(ready) > 1)
        return httpx.Response(200, json={"status": "ready" if ready[-1] else "starting", "detail": "…", "model": None})

    closed = asyncio.Event()
    breaker = Breaker(
        "embedder",
        EmbedderUnavailable,
        BreakerSettings(failures=1, pause_s=0.001),
        lambda is_open: None if is_open else closed.set(),
    )
    settings = EmbedderClientSettings(url="http://embedder")
    async with EmbedderClient(settings, breaker=breaker, transport=httpx.MockTransport(handle)) as client:
        with pytest.raises(EmbedderUnavailable):
            await client.model()
        async with asyncio.timeout(60):
            await closed.wait()
    assert ready == [False, False, True]


async def test_each_served_model_has_a_client_of_its_own() -> None:
    other = MODEL | {"pretrained": "q"}
    asked: list[tuple[str, str | None]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        label = request.url.params.get("model")
        asked.append((request.url.path, label))
        if request.url.path == "/models":
            return httpx.Response(200, json={"default": "m/p", "models": [other, MODEL]})
        if request.url.path == "/model":
            return httpx.Response(200, json=MODEL)
        return httpx.Response(200, json={"embeddings": [UNIT], "truncated": [False], "model": label or "m/p", "dim": 2})

    settings = EmbedderClientSettings(url="http://embedder")
    async with EmbedderClient(settings, transport=httpx.MockTransport(handle)) as client:
        assert [model.label for model in await client.models()] == ["m/p", "m/q"]
        await client.serving("m/q").encode_texts(["a"])
        await client.encode_texts(["a"])

    assert asked == [("/models", None), ("/encode/text", "m/q"), ("/model", None), ("/encode/text", None)]


async def test_a_model_that_is_not_served_is_no_outage() -> None:
    breaker = Breaker("embedder", EmbedderUnavailable, BreakerSettings(failures=1, pause_s=3600), lambda _: None)
    transport = httpx.MockTransport(lambda _: problem(404, "unknown_model"))
    settings = EmbedderClientSettings(url="http://embedder")
    async with EmbedderClient(settings, breaker=breaker, transport=transport) as client:
        for call in (client.serving("m/none").encode_pixels([IMAGE]), client.serving("m/none").encode_texts(["a"])):
            with pytest.raises(UnknownModel):
                await call
        assert breaker.closed
    await breaker.close()


async def test_readiness_is_passed_on() -> None:
    body = {"status": "failed", "detail": "no weights", "model": None}
    async with create_client(lambda _request: httpx.Response(503, json=body)) as client:
        ready = await client.ready()

    assert (ready.ok, ready.detail) == (False, "no weights")


async def test_callers_mistakes_are_not_sent() -> None:
    async with create_client(lambda _request: problem(500, "unexpected")) as client:
        with pytest.raises(ValueError, match="shape"):
            await client.encode_pixels([np.zeros((5, 4, 3), np.uint8)])
        with pytest.raises(ValueError, match="uint8"):
            await client.encode_pixels([np.zeros((4, 4, 3), np.float32)])
        with pytest.raises(InvalidInput):
            await client.encode_texts(["x" * 2_001])
        for templates in (["no slot"], ["{}"] * (MAX_TEXTS + 1)):
            with pytest.raises(InvalidInput):
                await client.embed_texts(["x"], templates=templates)


async def test_every_call_carries_id_and_trace() -> None:
    asked: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers)
        return vectors_answer([UNIT])

    async with create_client(answer) as client:
        with correlation.bound("r-1"), kept_spans() as spans, tracing.span("embed"):
            await client.encode_pixels([IMAGE])
        await client.encode_pixels([IMAGE])
    inside, outside = asked
    assert inside["x-request-id"] == "r-1"
    assert inside["traceparent"] == traceparent_of(spans.named("embedder POST /encode/pixels"))
    assert not {"x-request-id", "traceparent"} & set(outside)


async def test_a_call_for_several_requests_is_logged_with_their_ids() -> None:
    async with create_client(lambda _: vectors_answer([UNIT])) as client:
        await client.model()
        with (
            structlog.contextvars.bound_contextvars(request_id="batch", request_ids=["a", "b"]),
            structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs,
        ):
            await client.encode_pixels([IMAGE])
    (line,) = logs
    assert (line["event"], line["request_id"], line["request_ids"]) == (
        "embedder_asked_for_several",
        "batch",
        ["a", "b"],
    )
