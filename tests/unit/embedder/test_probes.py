import threading

from common.errors import ConfigurationError
from embedder.model import ClipModel, HubUnreachable, ObserveStep
from embedder.settings import EmbedderSettings
from tests.fakes.clip_model import FakeClipModel
from tests.unit.embedder.conftest import Serve, Served


async def test_probes_answer_while_the_model_loads(serve: Serve, model: FakeClipModel) -> None:
    release = threading.Event()

    def load(_settings: EmbedderSettings, _observe: ObserveStep) -> ClipModel:
        release.wait()
        return model

    async with serve(load) as served:
        health, ready = await served.http.get("/health"), await served.http.get("/ready")
        encode = await served.http.post("/encode/text", json={"texts": ["a"]})
        release.set()
        await served.wait_for("ready")
        later = await served.http.get("/ready")

    assert health.status_code == 200
    assert (ready.status_code, ready.json()["status"]) == (503, "starting")
    assert (encode.status_code, encode.json()["code"]) == (503, "embedder_not_ready")
    assert later.status_code == 200
    assert later.json() == {
        "ready": True,
        "status": "ready",
        "detail": "serving fake/seed-0",
        "model": model.info.model_dump(),
    }


async def test_a_refused_model_is_named_and_the_process_stays_up(serve: Serve) -> None:
    def load(_settings: EmbedderSettings, _observe: ObserveStep) -> ClipModel:
        raise ConfigurationError("no such weights")

    async with serve(load) as served:
        await served.wait_for("failed")
        ready, health = await served.http.get("/ready"), await served.http.get("/health")
        encode = await served.http.post("/encode/text", json={"texts": ["a"]})

    assert (ready.status_code, ready.json()["detail"]) == (503, "no such weights")
    assert health.status_code == 200
    assert encode.json()["detail"] == "no such weights"


async def test_an_unexpected_failure_to_load_is_told(serve: Serve) -> None:
    def load(_settings: EmbedderSettings, _observe: ObserveStep) -> ClipModel:
        raise OSError("the disk is on fire")

    async with serve(load) as served:
        await served.wait_for("failed")

        assert "the disk is on fire" in (await served.client.ready()).detail


async def test_the_hub_is_tried_again(serve: Serve, model: FakeClipModel) -> None:
    attempts: list[int] = []

    def load(_settings: EmbedderSettings, _observe: ObserveStep) -> ClipModel:
        attempts.append(1)
        if len(attempts) < 3:
            raise HubUnreachable("no network")
        return model

    async with serve(load, retry_s=0.01) as served:
        await served.wait_for("ready")

    assert len(attempts) == 3


async def test_a_model_with_suspect_vectors_does_not_serve(serve: Serve, model: FakeClipModel) -> None:
    model.distort = lambda vectors: vectors * 2
    async with serve() as served:
        await served.wait_for("failed")

        assert "normalised" in (await served.client.ready()).detail


async def test_metrics_count_requests_by_template_and_batches(served: Served) -> None:
    await served.client.encode_texts(["a", "b"])
    await served.http.get("/made/up/path")

    text = (await served.http.get("/metrics")).text

    assert 'likeness_http_requests_total{method="POST",route="/encode/text",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert "/made/up" not in text
    assert 'likeness_embedder_batch_items_sum{kind="text",model="fake/seed-0",priority="interactive"} 2.0' in text
    assert 'likeness_embedder_queue_seconds_count{kind="text",model="fake/seed-0",priority="interactive"} 2.0' in text
    assert 'likeness_batch_pending_items{batcher="embedder_image_bulk"} 0.0' in text
    assert "embedder_ready 1.0" in text


async def test_a_service_that_drains_is_not_ready_and_serves(served: Served) -> None:
    served.drain.began = True
    answer = await served.http.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    assert answer.headers["Connection"] == "close"
    assert len(await served.client.encode_texts(["still here"])) == 1
