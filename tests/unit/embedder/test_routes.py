import asyncio
import io
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from PIL import Image

from common.embedding import (
    COUNT_HEADER,
    DIM_HEADER,
    MAX_IMAGES,
    MAX_TEXTS,
    MODEL_HEADER,
    PRIORITY_HEADER,
    SIZE_HEADER,
    TIMEOUT_HEADER,
    Priority,
)
from common.imaging import Preprocess, model_pixels
from common.settings import ImagePolicy
from tests.fakes.clip_model import DIM, SIZE, FakeClipModel
from tests.fixtures.counting import counted_errors
from tests.unit.embedder.conftest import Serve, Served


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (40, 30), colour)


def png(colour: str) -> bytes:
    file = io.BytesIO()
    picture(colour).save(file, "PNG")
    return file.getvalue()


def expected(colour: str) -> list[float]:
    pixels = model_pixels(picture(colour), Preprocess(size=SIZE))
    vector: list[float] = FakeClipModel().encode_pixels(pixels[None])[0].tolist()
    return vector


def random_pixels(count: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def pixel_headers(count: int, size: int = SIZE) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", COUNT_HEADER: str(count), SIZE_HEADER: str(size)}


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["title"]
    assert problem["detail"]


async def test_encode_takes_multipart_and_raw_bodies(served: Served) -> None:
    raw = await served.http.post("/encode", content=png("red"), headers={"Content-Type": "image/png"})
    form = await served.http.post("/encode", files={"file": ("a.png", png("red"))})

    assert raw.status_code == form.status_code == 200
    assert (
        raw.json() == form.json() == {"embedding": pytest.approx(expected("red")), "model": "fake/seed-0", "dim": DIM}
    )


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"no image at all", 415, "unsupported_media"),
        (png("red")[:60], 422, "image_truncated"),
        (bytes(50_001), 413, "file_too_large"),
    ],
)
async def test_encode_says_what_is_wrong_with_an_image(served: Served, data: bytes, status: int, code: str) -> None:
    assert_problem(await served.http.post("/encode", files={"file": ("a.png", data)}), status, code)


async def test_urls_are_not_fetched(served: Served) -> None:
    assert_problem(await served.http.post("/encode", json={"url": "http://127.0.0.1/x"}), 422, "url_fetch_disabled")


async def test_encode_wants_exactly_one_file(served: Served) -> None:
    post = served.http.post
    two = [("file", ("a.png", png("red"))), ("file", ("b.png", png("blue")))]

    assert_problem(await post("/encode", files=two), 400, "bad_request")
    assert_problem(await post("/encode", files={"other": ("a.png", png("red"))}), 422, "invalid_input")
    plain = {"Content-Type": "text/plain"}
    assert_problem(await post("/encode", content=b"x", headers=plain), 415, "unsupported_media")


async def test_a_bad_image_of_a_batch_harms_no_other(served: Served) -> None:
    files = [("red.png", png("red")), ("bad.png", b"no image"), ("cut.png", png("red")[:60]), ("blue.png", png("blue"))]

    response = await served.http.post("/encode/batch", files=[("file", file) for file in files])

    assert response.status_code == 200
    red, bad, cut, blue = response.json()["results"]
    assert [item["filename"] for item in (red, bad, cut, blue)] == [name for name, _ in files]
    assert red["embedding"] == pytest.approx(expected("red"))
    assert blue["embedding"] == pytest.approx(expected("blue"))
    assert (red["error"], blue["error"], bad["embedding"], cut["embedding"]) == (None,) * 4
    assert (bad["error"]["code"], cut["error"]["code"]) == ("unsupported_media", "image_truncated")


async def test_a_batch_of_bad_images_costs_the_model_nothing(served: Served, model: FakeClipModel) -> None:
    before = len(model.batches)

    response = await served.http.post("/encode/batch", files=[("file", ("a", b"x")), ("file", ("b", b""))])

    assert [item["error"]["code"] for item in response.json()["results"]] == ["unsupported_media", "empty_file"]
    assert len(model.batches) == before


async def test_a_batch_has_a_largest_size(served: Served) -> None:
    files = [("file", ("a.png", png("red")))] * (MAX_IMAGES + 1)

    assert_problem(await served.http.post("/encode/batch", files=files), 400, "bad_request")


async def test_texts(served: Served) -> None:
    response = await served.http.post("/encode/text", json={"texts": ["a", "b"]})

    assert response.status_code == 200
    assert response.json() == {
        "embeddings": [pytest.approx(row) for row in FakeClipModel().encode_texts(["a", "b"]).tolist()],
        "truncated": [False, False],
        "model": "fake/seed-0",
        "dim": DIM,
    }


async def test_texts_that_are_cut_are_told(served: Served) -> None:
    response = await served.http.post("/encode/text", json={"texts": ["word " * 75, "word " * 76]})

    assert response.json()["truncated"] == [False, True]


async def test_a_text_in_templates_is_the_mean_of_its_prompts(served: Served) -> None:
    body = {"texts": ["cat", "{}"], "templates": ["a photo of a {}", "{}" + " x" * 80]}
    response = await served.http.post("/encode/text", json=body)

    prompts = FakeClipModel().encode_texts(["a photo of a cat", "cat" + " x" * 80, "a photo of a {}", "{}" + " x" * 80])
    means = np.stack([prompts[:2].mean(axis=0), prompts[2:].mean(axis=0)])
    assert np.allclose(response.json()["embeddings"], means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)
    assert response.json()["truncated"] == [True, True]


@pytest.mark.parametrize(
    ("texts", "templates", "code"),
    [
        (["a"], ["no slot"], "invalid_template"),
        (["a"], ["{} and {}"], "invalid_template"),
        (["a"], ["{}" + "x" * 199], "invalid_template"),
        (["a"] * 33, ["{}", "a {}"], "too_many_prompts"),
        (["a"], ["{}"] * (MAX_TEXTS + 1), "invalid_input"),
    ],
)
async def test_templates_are_bounded(served: Served, texts: list[str], templates: list[str], code: str) -> None:
    assert_problem(await served.http.post("/encode/text", json={"texts": texts, "templates": templates}), 422, code)


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ([], "invalid_input"),
        (["x"] * (MAX_TEXTS + 1), "invalid_input"),
        ([7], "invalid_input"),
        (["x" * 2_001], "text_too_long"),
    ],
)
async def test_texts_are_bounded(served: Served, texts: list[object], code: str) -> None:
    assert_problem(await served.http.post("/encode/text", json={"texts": texts}), 422, code)


async def test_pixels_come_back_as_vectors_in_order(served: Served) -> None:
    pixels = random_pixels(MAX_IMAGES)

    response = await served.http.post("/encode/pixels", content=pixels.tobytes(), headers=pixel_headers(MAX_IMAGES))

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers[COUNT_HEADER] == str(MAX_IMAGES)
    assert response.headers[DIM_HEADER] == str(DIM)
    assert response.headers[MODEL_HEADER] == "fake/seed-0"
    vectors = np.frombuffer(response.content, "<f4").reshape(MAX_IMAGES, DIM)
    assert np.allclose(vectors, FakeClipModel().encode_pixels(pixels), atol=1e-6)


@pytest.mark.parametrize(
    ("body_count", "headers", "code"),
    [
        (2, pixel_headers(3), "wrong_length"),
        (3, pixel_headers(2), "wrong_length"),
        (1, pixel_headers(1, size=SIZE - 1), "wrong_image_size"),
        (1, pixel_headers(1, size=SIZE + 1), "invalid_input"),
        (0, pixel_headers(0), "invalid_input"),
        (MAX_IMAGES + 1, pixel_headers(MAX_IMAGES + 1), "invalid_input"),
        (1, {}, "invalid_input"),
        (1, pixel_headers(1) | {COUNT_HEADER: "-1"}, "invalid_input"),
        (1, pixel_headers(1) | {TIMEOUT_HEADER: "soon"}, "invalid_input"),
    ],
)
async def test_pixels_must_be_what_the_headers_say(
    served: Served, body_count: int, headers: dict[str, str], code: str
) -> None:
    response = await served.http.post("/encode/pixels", content=random_pixels(body_count).tobytes(), headers=headers)

    assert_problem(response, 422, code)


async def test_bodies_are_cut_off_at_their_limit_declared_or_not(serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(1_000)

    async with serve(upload=ImagePolicy(max_file_bytes=1_000)) as served:
        await served.wait_for("ready")
        headers = {"Content-Type": "image/png"}
        with counted_errors("embedder") as counted:
            declared = await served.http.post("/encode", content=bytes(200_000), headers=headers)
            streamed = await served.http.post("/encode", content=chunks(), headers=headers)
            json = await served.http.post(
                "/encode/text", content=chunks(), headers={"Content-Type": "application/json"}
            )
            elsewhere = await served.http.post("/nowhere", content=bytes(200_000))

    assert counted == {("request", "body_too_large"): 3, ("request", "invalid_input"): 1}
    assert_problem(declared, 413, "body_too_large")
    assert_problem(streamed, 413, "body_too_large")
    assert json.status_code == 422  # shorter than its limit, and no JSON
    assert_problem(elsewhere, 413, "body_too_large")


async def test_bodies_have_a_bounded_amount_of_memory_together(serve: Serve) -> None:
    held, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        held.set()
        await go_on.wait()
        yield bytes(150_000)

    async with serve(upload=ImagePolicy(max_file_bytes=1_000_000), bytes_in_flight=200_000) as served:
        await served.wait_for("ready")
        headers = {"Content-Type": "image/png"}
        slow = asyncio.create_task(
            served.http.post("/encode", content=slowly(), headers=headers | {"Content-Length": "150000"})
        )
        await held.wait()
        with counted_errors("embedder") as counted:
            declared = await served.http.post("/encode", content=bytes(150_000), headers=headers)
            streamed = await served.http.post("/encode", content=slowly(), headers=headers)
        assert counted == {("overload", "overloaded"): 2}
        text = await served.http.post("/encode/text", json={"texts": ["people wait for this"]})
        go_on.set()
        await slow
        later = await served.http.post("/encode", content=bytes(150_000), headers=headers)
        larger_than_all = await served.http.post("/encode", content=bytes(300_000), headers=headers)

    for refused in (declared, streamed):
        assert_problem(refused, 429, "overloaded")
        assert refused.headers["Retry-After"] == "1"
    assert text.status_code == 200
    for let_through in (slow.result(), later, larger_than_all):
        assert_problem(let_through, 415, "unsupported_media")


async def test_unknown_paths_and_methods_are_problems(served: Served) -> None:
    assert_problem(await served.http.get("/nowhere"), 404, "not_found")
    assert_problem(await served.http.get("/encode"), 405, "method_not_allowed")


async def test_concurrent_requests_share_forward_passes(serve: Serve, model: FakeClipModel) -> None:
    async with serve(max_batch=16) as served:
        await served.wait_for("ready")
        model.hold()
        images = random_pixels(40)
        first = asyncio.create_task(served.client.encode_pixels(list(images[:1])))
        await asyncio.to_thread(model.entered.wait)
        others = [asyncio.create_task(served.client.encode_pixels([image])) for image in images[1:]]
        await asyncio.sleep(0.1)
        model.gate.set()
        answers = await first + [vector for answer in await asyncio.gather(*others) for vector in answer]

    assert [items for _, items in model.batches] == [1, 16, 16, 7]
    assert np.allclose(np.stack(answers), FakeClipModel().encode_pixels(images), atol=1e-6)


async def test_a_text_waits_for_one_batch_of_images_at_most(serve: Serve, model: FakeClipModel) -> None:
    async with serve(max_batch=8) as served:
        await served.wait_for("ready")
        model.hold()
        images = asyncio.create_task(served.client.encode_pixels(list(random_pixels(64))))
        await asyncio.to_thread(model.entered.wait)
        text = asyncio.create_task(served.client.encode_texts(["urgent"]))
        await asyncio.sleep(0.1)
        model.gate.set()
        await asyncio.gather(images, text)

    assert model.batches.index(("text", 1)) == 1


async def test_who_goes_first_is_the_callers_word(serve: Serve, model: FakeClipModel) -> None:
    async with serve() as served:
        await served.wait_for("ready")
        await served.client.encode_pixels(list(random_pixels(1)))
        await served.client.encode_pixels(list(random_pixels(1)), priority=Priority.INTERACTIVE)
        await served.client.encode_image(png("red"))
        await served.client.encode_texts(["a"])
        await served.client.encode_texts(["a"], priority=Priority.BULK)
        metrics = (await served.http.get("/metrics")).text
        unknown = await served.http.post("/encode/text", json={"texts": ["a"]}, headers={PRIORITY_HEADER: "urgent"})

    for kind, priority, count in [
        ("image", "bulk", 1),
        ("image", "interactive", 2),
        ("text", "bulk", 1),
        ("text", "interactive", 1),
    ]:
        line = (
            f'likeness_embedder_batch_items_count{{kind="{kind}",model="fake/seed-0",priority="{priority}"}} {count}.0'
        )
        assert line in metrics
    assert "likeness_embedder_decode_seconds_count 1.0" in metrics, "of the one that came as a file"
    assert_problem(unknown, 422, "invalid_input")


async def test_a_full_queue_refuses_at_once(serve: Serve, model: FakeClipModel) -> None:
    async with serve(max_pending=64, max_batch=8) as served:
        await served.wait_for("ready")
        model.hold()
        body, headers = random_pixels(60).tobytes(), pixel_headers(60)
        waiting = asyncio.create_task(served.http.post("/encode/pixels", content=body, headers=headers))
        await asyncio.sleep(0.1)
        refused = await served.http.post("/encode/pixels", content=body, headers=headers)
        model.gate.set()
        answered = await waiting

    assert_problem(refused, 429, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert answered.status_code == 200


async def test_work_whose_caller_has_gone_is_dropped(serve: Serve, model: FakeClipModel) -> None:
    async with serve() as served:
        await served.wait_for("ready")
        model.hold()
        busy = asyncio.create_task(served.client.encode_pixels(list(random_pixels(1))))
        await asyncio.to_thread(model.entered.wait)
        headers = pixel_headers(1) | {TIMEOUT_HEADER: "1"}
        with counted_errors("embedder") as counted:
            late = asyncio.create_task(
                served.http.post("/encode/pixels", content=random_pixels(1).tobytes(), headers=headers)
            )
            await asyncio.sleep(0.1)
            model.gate.set()
            await busy
            assert_problem(await late, 504, "deadline_exceeded")
        assert counted == {("overload", "deadline_exceeded"): 1}
    assert model.batches == [("image", 1)]


async def test_a_failing_model_is_the_embedders_fault(served: Served, model: FakeClipModel) -> None:
    model.failure = RuntimeError("device-side assert")
    body = random_pixels(1).tobytes()

    assert_problem(
        await served.http.post("/encode/pixels", content=body, headers=pixel_headers(1)), 503, "model_failed"
    )
    model.failure = None
    assert (await served.http.post("/encode/pixels", content=body, headers=pixel_headers(1))).status_code == 200
