"""The embedder as a process of its own, over HTTP."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest

from common.embedder_client import EmbedderClient
from common.embedding import MAX_IMAGES, Readiness
from common.errors import ImageTooLarge, ImageUnreadable, UnsupportedMedia
from common.imaging import Preprocess, decode, model_pixels
from common.settings import EmbedderClientSettings, ImagePolicy
from deploy.local.ports import choose_ports
from embedder.demo.scenes import Scene, draw_scene
from tests.fixtures.pictures import hostile, valid

SCENES = [
    Scene("red", "circle", 1, "blue"),
    Scene("green", "star", 3, "white"),
    Scene("yellow", "triangle", 2, "black"),
    Scene("blue", "heart", 4, "grey"),
]


@pytest.fixture
async def client(embedder_url: str) -> AsyncIterator[EmbedderClient]:
    async with EmbedderClient(EmbedderClientSettings(url=embedder_url, timeout_s=60)) as client:
        yield client


def draw(scene: Scene, seed: int) -> bytes:
    file = BytesIO()
    draw_scene(scene, Random(seed)).save(file, "PNG")
    return file.getvalue()


def to_pixels(data: bytes, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return model_pixels(decode(data, ImagePolicy()), Preprocess(size=size))


async def test_texts_find_their_pictures(client: EmbedderClient) -> None:
    images = np.stack([await client.encode_image(draw(scene, seed)) for seed, scene in enumerate(SCENES)])
    texts = np.stack(await client.encode_texts([scene.caption for scene in SCENES]))

    assert np.argmax(texts @ images.T, axis=1).tolist() == [0, 1, 2, 3]


async def test_a_second_model_answers_those_who_ask_for_it(client: EmbedderClient) -> None:
    demo, random = await client.models()
    assert (demo.demo, random.label) == (True, "likeness-demo/random")
    images = [to_pixels(draw(scene, 9), demo.image_size) for scene in SCENES]

    default = np.stack(await client.encode_pixels(images))
    ours = np.stack(await client.serving(demo.label).encode_pixels(images))
    others = np.stack(await client.serving(random.label).encode_pixels(images))

    assert np.allclose(ours, default, atol=1e-5)
    assert np.sum(ours * others, axis=1).max() < 0.9


async def test_pixels_and_the_image_itself_give_the_same_vector(client: EmbedderClient) -> None:
    size = (await client.model()).image_size
    pictures = [*valid().values(), *(draw(scene, 9) for scene in SCENES)]

    fast = np.stack(await client.encode_pixels([to_pixels(data, size) for data in pictures]))
    slow = np.stack([await client.encode_image(data) for data in pictures])

    assert np.sum(fast * slow, axis=1).min() >= 0.9999


async def test_vectors_reach_their_own_callers_under_load(client: EmbedderClient) -> None:
    size = (await client.model()).image_size
    images = list(np.random.default_rng(3).integers(0, 256, (150, size, size, 3), dtype=np.uint8))
    alone = np.stack([(await client.encode_pixels([image]))[0] for image in images[:20]])
    sizes = [1, 7, 2, 13, 1, 26, 50, 50]
    starts = np.cumsum([0, *sizes[:-1]])

    together = await asyncio.gather(
        *(client.encode_pixels(images[start : start + count]) for start, count in zip(starts, sizes, strict=True)),
        *(client.encode_texts([f"text {number}"]) for number in range(10)),
    )

    vectors = np.stack([vector for answer in together[: len(sizes)] for vector in answer])
    assert vectors.shape[0] == 150
    assert np.sum(vectors[:20] * alone, axis=1).min() >= 0.9999


async def test_hostile_files_harm_no_neighbour(client: EmbedderClient, embedder_url: str) -> None:
    good = draw(SCENES[0], 1)
    bad = [(name, file) for name, file in hostile().items() if len(file.data) < ImagePolicy().max_file_bytes]
    files = [part for name, file in bad for part in ((name, file.data), ("good", good))]
    results = []
    async with httpx.AsyncClient(base_url=embedder_url, trust_env=False, timeout=60) as http:
        for start in range(0, len(files), MAX_IMAGES):
            batch = [("file", part) for part in files[start : start + MAX_IMAGES]]
            response = await http.post("/encode/batch", files=batch)
            assert response.status_code == 200
            results += response.json()["results"]

    assert [item["error"]["code"] for item in results[::2]] == [file.code for _, file in bad]
    expected = await client.encode_image(good)
    assert all(np.allclose(item["embedding"], expected, atol=1e-4) for item in results[1::2])
    assert (await client.ready()).ok


async def test_rejections_arrive_as_what_they_are(client: EmbedderClient) -> None:
    for data, kind, code in [
        (b"no image", UnsupportedMedia, "unsupported_media"),
        (b"", ImageUnreadable, "empty_file"),
        (hostile()["png bomb"].data, ImageTooLarge, "image_side_too_long"),
        (bytes(26_000_000), ImageTooLarge, "body_too_large"),
    ]:
        with pytest.raises(kind) as caught:
            await client.encode_image(data)
        assert caught.value.code == code


def launch(log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "embedder"], env=os.environ | settings, stdout=output, stderr=output
        )


@asynccontextmanager
async def embedder(log: Path, **settings: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], EmbedderClient]]:
    (port,) = choose_ports(1)
    process = launch(log, {"EMBEDDER__PORT": str(port), "LOG__FORMAT": "json"} | settings)
    try:
        async with EmbedderClient(EmbedderClientSettings(url=f"http://127.0.0.1:{port}")) as client:
            yield process, client
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def settle(process: subprocess.Popen[bytes], client: EmbedderClient, *passing: str) -> Readiness:
    """Wait until the embedder has left these states."""
    while (ready := await client.ready()).status in passing:
        assert process.poll() is None, "the embedder has died"
        await asyncio.sleep(0.05)
    return ready


@pytest.fixture
def no_hub(tmp_path: Path) -> dict[str, str]:
    """An empty cache, and a hub that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return {"HF_HOME": str(tmp_path / "hub"), "HF_ENDPOINT": f"http://127.0.0.1:{port}", "NO_PROXY": "127.0.0.1"}


async def test_without_weights_it_stays_up_says_why_and_serves_nothing(tmp_path: Path, no_hub: dict[str, str]) -> None:
    log = tmp_path / "log"
    async with embedder(log, **no_hub, EMBEDDER__FALLBACK="none") as (process, client):
        ready = await settle(process, client, "unreachable", "starting")
        assert ready.status == "failed"
        assert "ViT-B-32 / laion2b_s34b_b79k: 127.0.0.1 does not answer" in ready.detail
        assert "EMBEDDER__MODEL=demo" in ready.detail
        assert process.poll() is None
    assert "EMBEDDER__MODEL=demo" in log.read_text()


async def test_falls_back_to_the_demo_model_loudly_when_told_to(tmp_path: Path, no_hub: dict[str, str]) -> None:
    log = tmp_path / "log"
    async with embedder(log, **no_hub, EMBEDDER__FALLBACK="demo") as (process, client):
        ready = await settle(process, client, "unreachable", "starting")
        assert ready.ok
        assert (await client.model()).demo
    assert '"event": "serving_demo_model"' in log.read_text()


async def test_probes_answer_while_it_loads_and_a_signal_ends_it(tmp_path: Path) -> None:
    async with embedder(tmp_path / "log", EMBEDDER__MODEL="demo") as (process, client):
        assert (await settle(process, client, "unreachable")).status == "starting"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) in (0, -signal.SIGTERM)
    assert "Traceback" not in (tmp_path / "log").read_text()
