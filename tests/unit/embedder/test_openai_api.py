"""OpenAI's shape of embeddings, without a client of theirs; `tests/integration/test_openai.py` has that."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from common.embedding import MAX_IMAGES, MAX_TEXT_CHARS
from common.settings import ImagePolicy
from embedder.openai_api import MAX_INPUTS
from tests.fakes.clip_model import DIM, FakeClipModel
from tests.unit.embedder.conftest import Serve, Served
from tests.unit.embedder.test_routes import expected, png

MODEL = "fake/seed-0"


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


async def ask(served: Served, given: object, **more: object) -> httpx.Response:
    return await served.http.post("/v1/embeddings", json={"model": MODEL, "input": given} | more)


def assert_refused(response: httpx.Response, status: int, code: str, kind: str = "invalid_request_error") -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert error.pop("message")
    assert error == {"type": kind, "param": None, "code": code}


async def test_a_text_has_its_vector_and_its_tokens(served: Served) -> None:
    response = await ask(served, "a red circle", user="somebody", dimensions=DIM)

    vector = pytest.approx(FakeClipModel().encode_texts(["a red circle"])[0].tolist())
    assert response.json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector, "truncated": False}],
        "model": MODEL,
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }


async def test_texts_and_images_keep_their_order(served: Served) -> None:
    response = await ask(served, ["a", data_url(png("red")), "data: the new oil", data_url(png("blue")), "w " * 99])

    texts = FakeClipModel().encode_texts(["a", "data: the new oil", "w " * 99]).tolist()
    vectors = [texts[0], expected("red"), texts[1], expected("blue"), texts[2]]
    data = response.json()["data"]
    assert [each["index"] for each in data] == list(range(5))
    assert [each["embedding"] for each in data] == [pytest.approx(vector) for vector in vectors]
    assert [each["truncated"] for each in data] == [False, False, False, False, True]
    assert response.json()["usage"]["prompt_tokens"] == 3 + 6 + 77  # what is read: not the end of the last


async def test_vectors_may_travel_in_base64(served: Served) -> None:
    response = await ask(served, ["a", "b"], encoding_format="base64")

    rows = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in response.json()["data"]]
    assert np.allclose(rows, FakeClipModel().encode_texts(["a", "b"]), atol=1e-6)


async def test_more_texts_than_a_queue_takes_at_once(serve: Serve, model: FakeClipModel) -> None:
    async with serve(max_pending=64, max_batch=64) as served:
        await served.wait_for("ready")
        texts = [str(number) for number in range(200)]
        response = await ask(served, texts)

    rows = [each["embedding"] for each in response.json()["data"]]
    assert np.allclose(rows, FakeClipModel().encode_texts(texts), atol=1e-6)


async def test_models_are_listed_and_found(served: Served) -> None:
    listed = await served.http.get("/v1/models")
    found = await served.http.get(f"/v1/models/{MODEL}")

    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "likeness"}
    assert listed.json() == {"object": "list", "data": [model]}
    assert found.json() == model
    assert_refused(await served.http.get("/v1/models/other/x"), 404, "model_not_found")


REFUSED: dict[str, tuple[object, dict[str, object], int, str]] = {
    "nothing": ("", {}, 400, "empty_input"),
    "no inputs": ([], {}, 400, "empty_input"),
    "one that is empty": (["a", ""], {}, 400, "empty_input"),
    "too many": (["a"] * (MAX_INPUTS + 1), {}, 400, "too_many_inputs"),
    "too many images": ([data_url(b"x")] * (MAX_IMAGES + 1), {}, 400, "too_many_inputs"),
    "long text": ("x" * (MAX_TEXT_CHARS + 1), {}, 400, "text_too_long"),
    "tokens": ([1, 2, 3], {}, 400, "tokens_not_supported"),
    "tokens of two": ([[1, 2], [3]], {}, 400, "tokens_not_supported"),
    "text and token": (["a", 1], {}, 400, "invalid_input"),
    "null": (None, {}, 400, "invalid_input"),
    "encoding": ("a", {"encoding_format": "hex"}, 400, "invalid_input"),
    "dimensions": ("a", {"dimensions": DIM - 1}, 400, "unsupported_dimensions"),
    "model": ("a", {"model": "text-embedding-3-small"}, 404, "model_not_found"),
    "not base64": ("data:image/png,abc", {}, 400, "invalid_data_url"),
    "bad base64": ("data:image/png;base64,no/base64!", {}, 400, "invalid_data_url"),
    "no image": (data_url(b"no image"), {}, 400, "unsupported_media"),
    "cut image": (data_url(png("red")[:60]), {}, 400, "image_truncated"),
    "large image": (data_url(bytes(50_001)), {}, 413, "file_too_large"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cant_be_embedded_is_refused_as_clients_expect(served: Served, case: str) -> None:
    given, more, status, code = REFUSED[case]
    assert_refused(await ask(served, given, **more), status, code)


async def test_a_bad_image_is_named(served: Served) -> None:
    response = await ask(served, ["a", data_url(png("red")), data_url(b"")])

    assert response.json()["error"]["message"].startswith("input 2: ")


async def test_every_other_error_has_their_shape_too(serve: Serve, model: FakeClipModel) -> None:
    async with serve(upload=ImagePolicy(max_file_bytes=1_000), bytes_in_flight=100) as served:
        assert_refused(await ask(served, "a"), 503, "embedder_not_ready", "server_error")
        await served.wait_for("ready")
        json = {"Content-Type": "application/json"}
        too_long = await served.http.post("/v1/embeddings", content=bytes(30_000_000), headers=json)
        no_json = await served.http.post("/v1/embeddings", content=b"{", headers=json)
        late = {"X-Likeness-Timeout-Ms": "0"}
        model.failure = RuntimeError("device-side assert")

        assert_refused(too_long, 413, "body_too_large")
        assert_refused(no_json, 400, "invalid_input")
        assert_refused(await ask(served, "a"), 503, "model_failed", "server_error")
        assert_refused(await served.http.get("/v1/nowhere"), 404, "not_found")
        assert_refused(
            await served.http.post("/v1/embeddings", json={"model": MODEL, "input": "a"}, headers=late),
            400,
            "invalid_input",
        )
