"""A caller that hangs up, seen from a real server: its work is dropped."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest

from common.embedder_client import EmbedderClient
from common.embedding import COUNT_HEADER, SIZE_HEADER
from common.serving import serving
from common.settings import EmbedderClientSettings
from deploy.local.ports import LOOPBACK, choose_ports
from embedder.main import create_app
from embedder.settings import Settings
from tests.fakes.clip_model import SIZE, FakeClipModel

PIXELS = np.zeros((2, SIZE, SIZE, 3), np.uint8).tobytes()
HEADERS = {"Content-Type": "application/octet-stream", COUNT_HEADER: "2", SIZE_HEADER: str(SIZE)}


@pytest.fixture
def model() -> FakeClipModel:
    return FakeClipModel()


@pytest.fixture
async def url(model: FakeClipModel) -> AsyncIterator[str]:
    (port,) = choose_ports(1)
    async with serving(create_app(Settings(), lambda _settings, _observe: model), LOOPBACK, port):
        yield f"http://{LOOPBACK}:{port}"
        model.gate.set()


async def metrics_say(http: httpx.AsyncClient, line: str) -> None:
    async with asyncio.timeout(30):
        while line not in (await http.get("/metrics")).text:  # noqa: ASYNC110 - seen by an outsider
            await asyncio.sleep(0.01)


async def test_work_of_a_caller_that_hangs_up_never_reaches_the_model(model: FakeClipModel, url: str) -> None:
    async with (
        EmbedderClient(EmbedderClientSettings(url=url)) as client,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http,
    ):
        while not (await client.ready()).ok:  # noqa: ASYNC110 - seen by an outsider
            await asyncio.sleep(0.01)
        model.hold()
        busy = asyncio.create_task(http.post("/encode/pixels", content=PIXELS, headers=HEADERS))
        await asyncio.to_thread(model.entered.wait)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as leaving:
            gone = asyncio.create_task(leaving.post("/encode/pixels", content=PIXELS, headers=HEADERS))
            await metrics_say(http, 'likeness_batch_pending_items{batcher="embedder_image_bulk"} 2.0')
            gone.cancel()
            await asyncio.wait([gone])
        await metrics_say(
            http,
            "likeness_embedder_dropped_items_total"
            '{kind="image",model="fake/seed-0",priority="bulk",reason="caller_gone"} 2.0',
        )
        model.gate.set()
        assert (await busy).status_code == 200
        await client.encode_texts(["the next one"])
        answered = 'likeness_http_requests_total{method="POST",route="/encode/pixels",status="499"} 1.0'
        await metrics_say(http, answered)

    assert model.batches == [("image", 2), ("text", 1)]
