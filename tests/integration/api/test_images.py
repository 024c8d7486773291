"""Listing, polling, editing, content: on real stores, without a worker."""

from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import update

from api.settings import ApiSettings
from common.db.engine import Database
from common.db.models import Image
from common.storage import S3ObjectStore, object_key
from tests.fixtures import pictures
from tests.fixtures.story import told_moves
from tests.fixtures.uploading import settled, uploaded_ids
from worker.context import WorkerContext

MISSING = str(uuid4())


async def test_listing_pages_newest_first_without_gaps(client: httpx.AsyncClient) -> None:
    ids = [*await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in range(5)])]
    ids += await uploaded_ids(client, *[pictures.jpeg(seed=seed) for seed in range(5, 7)], tags="late", category="c")
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/images", params=params)).json()
        seen += [image["id"] for image in page["images"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert set(seen[:2]) == set(ids[5:])

    async def listed(**params: str) -> set[str]:
        return {image["id"] for image in (await client.get("/images", params=params)).json()["images"]}

    assert await listed(tag="late") == await listed(category="c") == set(ids[5:])
    assert await listed(status="pending") == set(ids)
    assert await listed(status="done") == await listed(folder_id=MISSING) == set()


async def test_polling_answers_in_order_and_leaves_out_the_unknown(client: httpx.AsyncClient) -> None:
    ids = await uploaded_ids(client, pictures.jpeg(seed=1), pictures.jpeg(seed=2))
    response = await client.post("/images/status", json={"ids": [ids[1], MISSING, ids[0]]})
    assert response.json() == {"images": [{"id": id_, "status": "pending", "error": None} for id_ in ids[::-1]]}
    for wrong in ([], [MISSING] * 1001, ["x"]):
        assert (await client.post("/images/status", json={"ids": wrong})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "/content"), ("GET", "/thumbnail"), ("GET", "/similar"),
        ("PATCH", ""), ("DELETE", ""), ("POST", "/requeue"),
    ],
)  # fmt: skip
async def test_unknown_ids_are_404_and_malformed_ones_422(client: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"title": "t"} if method == "PATCH" else None
    response = await client.request(method, f"/images/{MISSING}{path}", json=body)
    assert (response.status_code, response.json()["code"]) == (404, "image_not_found")
    assert response.headers["content-type"] == "application/problem+json"
    response = await client.request(method, f"/images/not-a-uuid{path}", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/images?limit=0", "invalid_request"),
        ("/images?limit=1000000000", "invalid_request"),
        ("/images?limit=x", "invalid_request"),
        ("/images?cursor=x", "invalid_cursor"),
        ("/images?cursor=WzFd", "invalid_cursor"),
        ("/images?cursor=MjA", "invalid_cursor"),
        ("/images?status=lost", "invalid_request"),
        ("/images?folder_id=x", "invalid_request"),
        ("/search/text", "invalid_request"),
        ("/search/text?q=", "invalid_request"),
        ("/search/text?q=%20", "empty_query"),
        ("/search/text?q=a&limit=0", "invalid_request"),
        ("/search/text?q=a&limit=201", "invalid_request"),
        ("/search/text?q=a&min_score=2", "invalid_request"),
        ("/search/text?q=a&cursor=%00", "invalid_cursor"),
        ("/search/text?q=a&cursor=MTAwMDA", "invalid_cursor"),
        ("/search/text?q=a&cursor=dHJ1ZQ", "invalid_cursor"),
        (f"/search/text?q={'a' * 2001}", "invalid_request"),
    ],
)
async def test_malformed_queries_are_422(client: httpx.AsyncClient, path: str, code: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (422, code), response.text


async def test_what_is_not_indexed_has_no_similar_images_and_no_thumbnail_yet(client: httpx.AsyncClient) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(seed=3))
    response = await client.get(f"/images/{image_id}/similar")
    assert (response.status_code, response.json()["code"]) == (409, "image_not_indexed")
    response = await client.get(f"/images/{image_id}/thumbnail")
    assert (response.status_code, response.json()["code"]) == (409, "thumbnail_not_ready")
    shown = (await client.get(f"/images/{image_id}?include=embedding")).json()
    assert (shown["embedding"], shown["events"], shown["model"]) == (None, None, None)


async def test_edits_are_checked(client: httpx.AsyncClient) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(seed=4), title="before")
    for wrong in (
        {"colour": "red"},
        {"tags": "one"},
        {"tags": [""]},
        {"category": ""},
        {"tags": None},
        {"sha256": "0"},
    ):
        assert (await client.patch(f"/images/{image_id}", json=wrong)).status_code == 422, wrong
    assert (await client.get(f"/images/{image_id}")).json()["title"] == "before"
    response = await client.get(f"/images/{image_id}?include=everything")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_content_is_served_safely_with_ranges_and_etag(client: httpx.AsyncClient) -> None:
    data = pictures.jpeg(seed=5)
    (image_id,) = await uploaded_ids(client, data)
    path = f"/images/{image_id}/content"
    whole = await client.get(path)
    assert whole.content == data
    assert whole.headers["content-type"] == "image/jpeg"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in whole.headers["content-security-policy"]
    assert whole.headers["content-length"] == str(len(data))

    size = len(data)
    for asked, start, stop in (("0-9", 0, 10), ("10-", 10, size), ("-5", size - 5, size), (f"5-{size * 2}", 5, size)):
        part = await client.get(path, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, data[start:stop]), asked
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    beyond = await client.get(path, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=-", "bytes=1-2,4-5", "lines=1-2"):
        assert (await client.get(path, headers={"Range": ignored})).status_code == 200
    cached = await client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (cached.status_code, cached.content) == (304, b"")


async def test_a_range_of_another_version_is_answered_with_everything(client: httpx.AsyncClient) -> None:
    data = pictures.jpeg(seed=6)
    (image_id,) = await uploaded_ids(client, data)
    path = f"/images/{image_id}/content"
    etag = (await client.head(path)).headers["etag"]
    for if_range, status, content in ((etag, 206, data[:10]), (f"W/{etag}", 200, data), ('"old"', 200, data)):
        answer = await client.get(path, headers={"Range": "bytes=0-9", "If-Range": if_range})
        assert (answer.status_code, answer.content) == (status, content), if_range


async def test_head_answers_as_get_without_the_bytes(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(seed=7))
    await settled(client, [image_id])
    for path in (f"/images/{image_id}/content", f"/images/{image_id}/thumbnail"):
        for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-9"}):
            told = await client.head(path, headers=headers)
            # A range is asked of GET alone.
            got = await client.get(path, headers={} if "Range" in headers else headers)
            assert (told.status_code, told.content) == (got.status_code, b"")
            assert _of_the_bytes(told) == _of_the_bytes(got)
        missing = path.replace(image_id, MISSING)
        assert (await client.head(missing)).status_code == 404


def _of_the_bytes(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in {"date", "x-request-id"}}


async def test_head_tells_that_the_bytes_are_gone(client: httpx.AsyncClient, api_settings: ApiSettings) -> None:
    data = pictures.jpeg(seed=8)
    (image_id,) = await uploaded_ids(client, data)
    store = S3ObjectStore(api_settings.s3)
    await store.delete(object_key(sha256(data).hexdigest()))
    await store.close()
    path = f"/images/{image_id}/content"
    assert (await client.head(path)).status_code == (await client.get(path)).status_code == 503


async def test_probes_and_metrics_and_documentation_answer(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "alive"}
    ready = await client.get("/ready")
    assert ready.status_code == 200, ready.text
    assert ready.json()["demo"] is True
    assert {item["name"] for item in ready.json()["dependencies"]} == {
        "database", "storage", "vectors", "queue", "embedder",
    }  # fmt: skip
    metrics = (await client.get("/metrics")).text
    assert 'likeness_http_requests_total{method="GET",route="/ready",status="200"}' in metrics
    documented = (await client.get("/openapi.json")).json()
    assert documented["paths"]["/images/upload"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert (await client.get("/")).headers["content-type"].startswith("text/html")
    lost = await client.get("/nowhere")
    assert (lost.status_code, lost.json()["code"]) == (404, "not_found")


async def test_request_ids_are_taken_or_made_and_always_answered(client: httpx.AsyncClient) -> None:
    given = await client.get("/health", headers={"X-Request-ID": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    made = await client.get("/health", headers={"X-Request-ID": "no good\tid"})
    assert len(made.headers["x-request-id"]) == 32


async def test_what_becomes_of_an_image_is_told_to_the_log(client: httpx.AsyncClient, database: Database) -> None:
    with told_moves() as told:
        (id_,) = await uploaded_ids(client, pictures.jpeg())
        async with database.begin() as session:
            await session.execute(update(Image).values(status="error", error_code="broken"))
        assert (await client.post(f"/images/{id_}/requeue")).status_code == 202
        assert (await client.delete(f"/images/{id_}")).status_code == 204
        assert (await client.delete(f"/images/{id_}")).status_code == 404
    assert told == [
        (id_, None, "created", None),
        (id_, "created", "pending", None),
        (id_, "error", "pending", None),
        (id_, None, "deleted", None),
    ]


@pytest.mark.parametrize("declared", [True, False], ids=["with Content-Length", "chunked"])
async def test_bodies_that_are_no_uploads_are_small(client: httpx.AsyncClient, declared: bool) -> None:
    body = b'{"ids": [' + b'"x",' * 400_000

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    response = await client.post("/images/status", content=body if declared else stream(), headers=headers)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
