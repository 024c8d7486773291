"""Api, queue, worker and embedder in one process: a request is one trace, and an upload one story in the log."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from structlog.typing import EventDict

from api.settings import ApiSettings
from common.serving import serving
from common.vectors.base import VectorIndex
from deploy.local.ports import choose_ports
from embedder.main import create_app
from embedder.settings import EmbedderSettings, Settings
from tests.fakes.clip_model import FakeClipModel
from tests.fixtures.photos import drawn_photos
from tests.fixtures.services import running_api
from tests.fixtures.tracing import KeptSpans, context_of, kept_spans
from tests.fixtures.uploading import settled, upload
from worker.context import open_worker
from worker.main import _end, _take_hints
from worker.settings import WorkerSettings

REQUEST_ID = "from-the-client.1"
FILE_NAME = "holiday-with-jane.jpg"
TEXT = "jane on a beach"


@pytest.fixture
def spans() -> Iterator[KeptSpans]:
    with kept_spans() as kept:
        yield kept


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


@pytest.fixture
async def embedder_url(spans: KeptSpans, logs: list[EventDict]) -> AsyncIterator[str]:
    """The address of an embedder in this process, with a model that needs no torch."""
    (port,) = choose_ports(1)
    app = create_app(Settings(embedder=EmbedderSettings(port=port)), lambda _settings, _observe: FakeClipModel())
    url = f"http://127.0.0.1:{port}"
    async with serving(app, "127.0.0.1", port), httpx.AsyncClient(trust_env=False) as client:
        async with asyncio.timeout(60):
            while not (await client.get(f"{url}/ready")).is_success:  # noqa: ASYNC110 - what an outsider sees
                await asyncio.sleep(0.01)
        yield url


@asynccontextmanager
async def working(settings: WorkerSettings, vectors: VectorIndex) -> AsyncIterator[None]:
    """Run a worker that hears hints and does not sweep: which of the two is first would be a matter of luck."""
    async with open_worker(settings, vectors) as context:
        hints = asyncio.create_task(_take_hints(context, settings.redis))
        yield
        await context.pipeline.stop(60)
        await _end([hints])


@pytest.fixture
async def image_id(api_settings: ApiSettings, worker_settings: WorkerSettings, vectors: VectorIndex) -> str:
    """An image that was uploaded and is done; all that was at work on it has stopped."""
    async with working(worker_settings, vectors), running_api(api_settings, vectors) as client:
        client.headers["X-Request-ID"] = REQUEST_ID
        response = await upload(client, (FILE_NAME, next(drawn_photos(1))))
        assert (response.status_code, response.headers["x-request-id"]) == (202, REQUEST_ID)
        client.headers["X-Request-ID"] = "somebody-else"
        id_: str = response.json()["images"][0]["id"]
        assert (await settled(client, [id_]))[id_]["status"] == "done"
        assert (await client.get("/search/text", params={"q": TEXT})).status_code == 200
    return id_


def ancestors(span: ReadableSpan, by_id: dict[int, ReadableSpan]) -> list[str]:
    names = []
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


def paths_below(name: str, spans: KeptSpans) -> dict[str, list[list[str]]]:
    """Return the ancestors, by name, of all spans in the trace that this one begins; each has to lead to it."""
    root = spans.named(name)
    assert root.parent is None
    trace = [span for span in spans.all if context_of(span).trace_id == context_of(root).trace_id]
    by_id = {context_of(span).span_id: span for span in trace}
    below: dict[str, list[list[str]]] = defaultdict(list)
    for span in trace:
        if span is not root:
            below[span.name].append(ancestors(span, by_id))  # KeyError: its parent is not in the trace
    assert {path[-1] for paths in below.values() for path in paths} == {name}
    return below


async def test_an_upload_is_one_trace_and_one_story(image_id: str, spans: KeptSpans, logs: list[EventDict]) -> None:
    assert_one_trace(image_id, spans)
    assert_one_story(image_id, logs)
    searched = paths_below("GET /search/text", spans)
    assert {"embedder POST /encode/text", "POST /encode/text", "vectors query", "postgresql read"} <= searched.keys()
    told = [str(line) for line in logs] + [span.to_json() for span in spans.all]
    assert not [each for each in told if FILE_NAME in each or TEXT in each]


def assert_one_trace(image_id: str, spans: KeptSpans) -> None:
    upload = "POST /images/upload"
    below = paths_below(upload, spans)
    image = ["image", "process_images", "redis hint", upload]
    for stage in ("fetch", "decode", "fingerprint", "thumbnail", "embed", "index"):
        assert below[f"stage {stage}"] == [image]
    assert below["s3 put"] == [[upload], ["stage thumbnail", *image]]
    assert below["s3 get"] == [["stage fetch", *image]]
    asked = ["batch", "stage embed", *image]
    assert below["embedder POST /encode/pixels"] == [asked]
    assert below["POST /encode/pixels"] == [["embedder POST /encode/pixels", *asked]]
    assert ["POST /encode/pixels", "embedder POST /encode/pixels", *asked] in below["batch"], "the model's"
    assert below["vectors upsert"] == [["batch", "stage index", *image]]
    assert [upload] in below["postgresql transaction"]
    assert ["batch", "stage embed", *image] in below["postgresql transaction"]
    assert ["batch", *image] in below["postgresql transaction"], "the claim"

    trace_id = context_of(spans.named(upload)).trace_id
    images = [span for span in spans.all if span.name == "image" and context_of(span).trace_id == trace_id]
    assert [span.attributes for span in images] == [
        {"likeness.image_id": image_id}
    ]  # other tests' hints have their own


def assert_one_story(image_id: str, logs: list[EventDict]) -> None:
    story = [line for line in logs if line.get("request_id") == REQUEST_ID]
    moves = [line for line in story if line["event"] == "image_moved"]
    assert {line["image_id"] for line in moves} == {image_id}
    assert [(line.get("from"), line["to"]) for line in moves] == [
        (None, "created"),
        ("created", "pending"),
        ("pending", "embedding"),
        ("embedding", "indexing"),
        ("indexing", "done"),
    ]
    requests = {(line["route"], line["status"]) for line in story if line["event"] == "request"}
    assert requests >= {("/images/upload", 202), ("/encode/pixels", 200)}
