"""`POST /images/import` on real stores: off unless switched on, what is accepted, and all the way to `done`."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog

from api.settings import ApiSettings
from common.db.engine import Database
from common.settings import ImportSettings
from common.storage import S3ObjectStore
from common.vectors.base import VectorIndex
from tests.fixtures import pictures
from tests.fixtures.rows import create_folder, record_import
from tests.fixtures.sites import NAME, Town, answer, redirect, running_site
from tests.fixtures.uploading import count_rows, settled, uploaded_ids
from worker.context import WorkerContext, open_worker
from worker.downloads import Downloads
from worker.main import run_worker
from worker.settings import WorkerSettings
from worker.url_fetch import Fetcher

URL = f"http://{NAME}/shoe.jpg"
SWITCHED_ON = ImportSettings(enabled=True)


@pytest.fixture
def api_settings(api_settings: ApiSettings, request: pytest.FixtureRequest) -> ApiSettings:
    """Settings with imports switched on, unless a test says otherwise."""
    upload = api_settings.upload.model_copy(update=getattr(request, "param", {}).get("upload", {}))
    imports = getattr(request, "param", {}).get("imports", SWITCHED_ON)
    return api_settings.model_copy(update={"imports": imports, "upload": upload})


async def import_url(client: httpx.AsyncClient, url: Any = URL, **fields: Any) -> httpx.Response:
    return await client.post("/images/import", json={"url": url, **fields})


async def imported_id(client: httpx.AsyncClient, url: str = URL, **fields: Any) -> str:
    response = await import_url(client, url, **fields)
    assert response.status_code == 202, response.text
    return str(response.json()["images"][0]["id"])


@pytest.mark.parametrize("api_settings", [{"imports": ImportSettings()}], indirect=True)
@pytest.mark.parametrize("body", [{"url": URL}, {"url": "file:///etc/passwd"}, {}])
async def test_it_is_off_by_default(client: httpx.AsyncClient, database: Database, body: dict[str, str]) -> None:
    response = await client.post("/images/import", json=body)
    assert (response.status_code, response.json()["code"]) == (403, "import_disabled")
    assert response.headers["content-type"] == "application/problem+json"
    assert await count_rows(database) == 0


async def test_an_accepted_url_is_an_image_like_any_other(client: httpx.AsyncClient) -> None:
    response = await import_url(client, URL + "?size=1", tags=["a"], category="c", title="t", attributes={"n": 7})
    assert response.status_code == 202
    (image,) = response.json()["images"]
    assert response.json() == {
        "images": [
            {"id": image["id"], "status": "created", "filename": "shoe.jpg", "sha256": None, "duplicate": False}
        ],
        "rejected": [],
    }
    shown = (await client.get(f"/images/{image['id']}?include=events,embedding")).json()
    assert (shown["status"], shown["tags"], shown["category"], shown["title"]) == ("created", ["a"], "c", "t")
    assert [shown[name] for name in ("media_type", "byte_size", "width", "height", "sha256", "embedding")] == [None] * 6
    assert [event["to_status"] for event in shown["events"]] == ["created"]
    (listed,) = (await client.get("/images", params={"status": "created"})).json()["images"]
    assert listed["id"] == image["id"]
    (state,) = (await client.post("/images/status", json={"ids": [image["id"]]})).json()["images"]
    assert state == {"id": image["id"], "status": "created", "error": None}
    assert "size=1" not in (await client.get(f"/images/{image['id']}")).text, "nobody but the worker needs the URL"


async def test_without_bytes_there_is_nothing_to_serve_and_everything_else_works(client: httpx.AsyncClient) -> None:
    path = f"/images/{await imported_id(client)}"
    codes = {"content": "content_not_ready", "thumbnail": "thumbnail_not_ready", "similar": "image_not_indexed"}
    for name, code in codes.items():
        response = await client.get(f"{path}/{name}")
        assert (response.status_code, response.json()["code"]) == (409, code)
    response = await client.post(f"{path}/requeue")
    assert (response.status_code, response.json()["code"]) == (409, "image_not_failed")
    assert (await client.patch(path, json={"tags": ["new"]})).json()["tags"] == ["new"]
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    "url", ["ftp://pictures.example/a", "http://pictures.example:8080/", "http://a:b@pictures.example/", "", "x" * 3000]
)
async def test_a_url_that_is_none_for_us_is_refused_at_once(
    client: httpx.AsyncClient, database: Database, url: str
) -> None:
    response = await import_url(client, url)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_url")
    assert await count_rows(database) == 0


@pytest.mark.parametrize("body", [{}, {"url": None}, {"url": 7}, {"url": URL, "other": 1}, {"url": URL, "tags": "a"}])
async def test_what_is_no_import_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await client.post("/images/import", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_a_body_without_end_is_refused(client: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 10_000

    response = await client.post("/images/import", content=body(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


async def test_folders_and_external_ids_are_those_of_uploads(client: httpx.AsyncClient, database: Database) -> None:
    folder = str(await create_folder(database))
    image_id = await imported_id(client, folder_id=folder, external_id="shoe")
    assert (await client.get(f"/images/{image_id}")).json()["folder_id"] == folder
    response = await import_url(client, external_id="shoe")
    assert (response.status_code, response.json()["code"]) == (422, "external_id_taken")
    response = await import_url(client, folder_id=str(uuid4()))
    assert (response.status_code, response.json()["code"]) == (404, "folder_not_found")
    assert await count_rows(database) == 1


@pytest.mark.parametrize("api_settings", [{"upload": {"max_backlog": 1}}], indirect=True)
async def test_a_long_backlog_is_answered_429(client: httpx.AsyncClient, database: Database) -> None:
    for _ in range(2):
        await record_import(database)
    response = await import_url(client)
    assert (response.status_code, response.json()["code"]) == (429, "backlog_full")
    assert "Retry-After" in response.headers
    assert await count_rows(database) == 2


async def test_the_schema_says_all_of_it(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/images/import"]["post"]
    assert {"202", "403", "404", "422", "429", "503"} <= operation["responses"].keys()
    example = operation["responses"]["202"]["content"]["application/json"]["example"]
    assert example["images"][0]["status"] == "created"


@pytest.fixture
async def storage(api_settings: ApiSettings) -> AsyncIterator[S3ObjectStore]:
    opened = S3ObjectStore(api_settings.s3)
    yield opened
    await opened.close()


def create_downloads(worker: WorkerContext, storage: S3ObjectStore, settings: ApiSettings, town: Town) -> Downloads:
    """Downloads as a worker has them, but for the network."""
    return Downloads(
        worker.database,
        storage,
        Fetcher(town.network, settings.imports.timeout_s),
        settings.imports,
        settings.upload,
        worker="downloader",
        process=worker.pipeline.process_all,
    )


@pytest.fixture
async def importing_worker(worker_settings: WorkerSettings, vectors: VectorIndex) -> AsyncIterator[WorkerContext]:
    """A worker that downloads by itself."""
    settings = worker_settings.model_copy(update={"imports": SWITCHED_ON})
    stop = asyncio.Event()
    async with open_worker(settings, vectors) as context:
        running = asyncio.create_task(run_worker(context, settings, stop))
        yield context
        stop.set()
        await running


async def test_from_a_url_to_found(
    client: httpx.AsyncClient,
    worker: WorkerContext,
    storage: S3ObjectStore,
    api_settings: ApiSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = pictures.jpeg(seed=1)
    caplog.set_level(logging.INFO)
    async with running_site({"/moved": redirect("/shoe.jpg?key=s3cret"), "/shoe.jpg": answer(data)}) as site:
        downloads = create_downloads(worker, storage, api_settings, Town(site))
        with structlog.testing.capture_logs() as logs:
            image_id = await imported_id(client, f"http://{NAME}/moved?token=s3cret", tags=["imported"])
            running = asyncio.create_task(downloads.run())
            states = await settled(client, [image_id])
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert states[image_id]["status"] == "done"
    assert "download_ended" in str(logs)
    assert "s3cret" not in f"{logs} {caplog.text}"

    shown = (await client.get(f"/images/{image_id}?include=events,embedding")).json()
    assert [event["to_status"] for event in shown["events"]] == ["created", "pending", "embedding", "indexing", "done"]
    assert (shown["sha256"], shown["filename"]) == (hashlib.sha256(data).hexdigest(), "moved")
    assert len(shown["embedding"]) > 0
    assert (await client.get(shown["links"]["content"])).content == data
    assert (await client.get(shown["links"]["thumbnail"])).status_code == 200
    other = await uploaded_ids(client, pictures.jpeg(seed=2))
    await settled(client, other)
    found = (await client.get(f"/images/{other[0]}/similar", params={"tag": "imported"})).json()
    assert [result["image"]["id"] for result in found["results"]] == [image_id]
    (again,) = await uploaded_ids(client, data)
    assert again == image_id, "an upload of the same bytes is the same image"


async def test_a_failed_download_is_requeued_by_its_owner(
    client: httpx.AsyncClient, worker: WorkerContext, storage: S3ObjectStore, api_settings: ApiSettings
) -> None:
    async with running_site({}) as site:
        downloads = create_downloads(worker, storage, api_settings, Town(site))
        image_id = await imported_id(client)
        await downloads.run_next()
        shown = (await client.get(f"/images/{image_id}")).json()
        assert (shown["status"], shown["error"]) == (
            "error",
            {"code": "download_failed", "detail": "the server answered 404"},
        )
        site.pages["/shoe.jpg"] = answer(pictures.jpeg(seed=1))
        response = await client.post(f"/images/{image_id}/requeue")
        assert (response.status_code, response.json()["status"]) == (202, "created")
        await downloads.run_next()
        assert (await settled(client, [image_id]))[image_id]["status"] == "done"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_a_worker_as_it_is_started_goes_nowhere_inside(
    client: httpx.AsyncClient, importing_worker: WorkerContext, host: str
) -> None:
    image_id = await imported_id(client, f"http://{host}/shoe.jpg")
    state = (await settled(client, [image_id]))[image_id]
    assert (state["status"], state["error"]["code"]) == ("error", "url_refused")
