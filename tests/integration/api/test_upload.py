"""`POST /images/upload` on real stores: what is accepted, what is rejected, and what is left behind."""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from api.settings import ApiSettings
from common.db.engine import Database
from common.imaging import ImageFormat
from common.storage import S3ObjectStore, object_key
from common.vectors.base import VectorIndex
from tests.fixtures import pictures
from tests.fixtures.services import running_api
from tests.fixtures.uploading import count_rows, upload, uploaded_ids


async def test_all_formats_are_accepted_whatever_they_are_called(client: httpx.AsyncClient) -> None:
    files = [(f"wrong.{format_}.txt", data) for format_, data in pictures.valid().items()]
    response = await upload(client, *files, tags=["a", "b"], category="test", attributes='{"price": 7}')
    assert response.status_code == 202
    body = response.json()
    assert body["rejected"] == []
    for (name, data), image in zip(files, body["images"], strict=True):
        assert image == {
            "id": image["id"],
            "status": "pending",
            "filename": name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "duplicate": False,
        }
        shown = (await client.get(f"/images/{image['id']}")).json()
        assert shown["media_type"] == f"image/{name.split('.')[1]}"
        assert (shown["width"], shown["height"], shown["byte_size"]) == (96, 64, len(data))
        assert (shown["tags"], shown["category"], shown["attributes"]) == (["a", "b"], "test", {"price": 7})


async def test_the_same_bytes_are_one_image(client: httpx.AsyncClient, database: Database) -> None:
    data = pictures.jpeg(seed=1)
    first, again = (await upload(client, data, data)).json()["images"]
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    (later,) = (await upload(client, ("other.jpg", data))).json()["images"]
    assert later["duplicate"]
    assert first["id"] == again["id"] == later["id"]
    assert await count_rows(database) == 1


async def test_forty_uploads_of_the_same_bytes_at_once_are_one_image(
    client: httpx.AsyncClient, database: Database
) -> None:
    data = pictures.jpeg(seed=2)
    responses = await asyncio.gather(*(upload(client, data) for _ in range(40)))
    assert {response.status_code for response in responses} == {202}
    images = [response.json()["images"][0] for response in responses]
    assert {image["status"] for image in images} == {"pending"}, "202 means that `pending` is committed"
    assert len({image["id"] for image in images}) == 1
    assert sum(not image["duplicate"] for image in images) == 1
    assert await count_rows(database) == 1


async def test_an_accepted_file_is_in_the_object_store(client: httpx.AsyncClient, api_settings: ApiSettings) -> None:
    data = pictures.jpeg(seed=3)
    await uploaded_ids(client, data)
    store = S3ObjectStore(api_settings.s3)
    assert await store.get(object_key(hashlib.sha256(data).hexdigest()), max_bytes=len(data)) == data
    await store.close()


async def test_an_original_that_the_bucket_has_lost_comes_back_with_the_same_bytes(
    client: httpx.AsyncClient, api_settings: ApiSettings
) -> None:
    data, key = pictures.jpeg(seed=4), object_key(hashlib.sha256(pictures.jpeg(seed=4)).hexdigest())
    ids = await uploaded_ids(client, data)
    store = S3ObjectStore(api_settings.s3)
    await store.delete(key)
    (again,) = (await upload(client, data)).json()["images"]
    assert (again["id"], again["duplicate"]) == (ids[0], True)
    assert await store.get(key, max_bytes=len(data)) == data
    assert (await client.get(f"/images/{ids[0]}/content")).content == data
    await store.close()


@pytest.mark.parametrize("name", sorted(pictures.hostile()))
async def test_hostile_files_are_rejected_or_end_in_error(
    client: httpx.AsyncClient, database: Database, name: str
) -> None:
    data, code = pictures.hostile()[name]
    response = await upload(client, ("picture.jpg", data))
    if response.status_code == 202:
        # What passes the header check is the worker's to judge: see test_worker.py.
        assert code in {"image_truncated", "image_corrupt"}
        return
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    statuses = {"unsupported_media": 415, "image_side_too_long": 413, "image_too_many_pixels": 413}
    assert response.status_code == statuses.get(code, 422)
    assert body["code"] == body["rejected"][0]["code"] == code
    assert body["images"] == []
    assert await count_rows(database) == 0


async def test_one_bad_file_harms_no_other(client: httpx.AsyncClient) -> None:
    good = [pictures.jpeg(seed=seed) for seed in range(10, 13)]
    response = await upload(client, good[0], b"", good[1], ("notes.jpg", b"just text"), good[2])
    assert response.status_code == 202
    body = response.json()
    assert [image["sha256"] for image in body["images"]] == [hashlib.sha256(data).hexdigest() for data in good]
    assert [(item["filename"], item["code"]) for item in body["rejected"]] == [
        ("1.jpg", "empty_file"),
        ("notes.jpg", "unsupported_media"),
    ]


async def test_a_file_over_the_limit_is_rejected_and_its_neighbours_are_not(
    client: httpx.AsyncClient, api_settings: ApiSettings
) -> None:
    large = pictures.jpeg(seed=4) + bytes(api_settings.upload.max_file_bytes)
    response = await upload(client, large, pictures.jpeg(seed=5))
    assert response.status_code == 202
    assert [item["code"] for item in response.json()["rejected"]] == ["file_too_large"]
    response = await upload(client, large)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")


@pytest.mark.parametrize("declared", [True, False], ids=["with Content-Length", "chunked"])
async def test_a_request_over_the_limit_is_refused(
    client: httpx.AsyncClient, api_settings: ApiSettings, database: Database, declared: bool
) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = part + pictures.jpeg() + b"\r\n" + part + bytes(api_settings.upload.max_request_bytes) + b"\r\n--x--\r\n"

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    response = await client.post(
        "/images/upload",
        content=body if declared else stream(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert (response.status_code, response.json()["code"]) == (413, "request_too_large")
    assert await count_rows(database) == 0


async def test_a_client_that_goes_away_leaves_nothing(
    client: httpx.AsyncClient,
    api_settings: ApiSettings,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spools = tmp_path / "spools"
    spools.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spools))
    _, writer = await asyncio.open_connection(api_settings.http.host, api_settings.http.port)
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + pictures.jpeg()
    head = f"POST /images/upload HTTP/1.1\r\nHost: a\r\nContent-Length: {len(part) + 900_000}\r\n"
    writer.write(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + part + bytes(600_000))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    # The server has noticed by the time it has answered someone else.
    assert (await client.get("/health")).status_code == 200
    assert list(spools.iterdir()) == []
    assert await count_rows(database) == 0


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"folder_id": "no-uuid"}, 422, "invalid_request"),
        ({"folder_id": str(uuid4())}, 404, "folder_not_found"),
        ({"attributes": "{"}, 422, "invalid_json"),
        ({"attributes": "[1]"}, 422, "invalid_request"),
        ({"attributes": '{"a":' * 33 + "1" + "}" * 33}, 422, "invalid_request"),
        ({"colour": "red"}, 422, "unknown_field"),
        ({"title": ["one", "two"]}, 422, "repeated_field"),
        ({"category": ""}, 422, "invalid_request"),
        ({"tags": ["t"] * 51}, 422, "invalid_request"),
        ({"title": "t" * 501}, 422, "invalid_request"),
    ],
)
async def test_bad_fields_are_refused(
    client: httpx.AsyncClient, database: Database, fields: dict[str, str], status: int, code: str
) -> None:
    response = await upload(client, pictures.jpeg(), **fields)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert await count_rows(database) == 0


async def test_no_file_and_no_multipart_are_refused(client: httpx.AsyncClient) -> None:
    response = await upload(client, title="no file")
    assert (response.status_code, response.json()["code"]) == (422, "no_files")
    response = await client.post("/images/upload", files={"picture": ("a.jpg", pictures.jpeg())})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_field")
    response = await client.post("/images/upload", json={"file": "x"})
    assert (response.status_code, response.json()["code"]) == (415, "multipart_expected")


async def test_an_external_id_names_one_image(client: httpx.AsyncClient) -> None:
    one, two = pictures.jpeg(seed=6), pictures.jpeg(seed=7)
    response = await upload(client, one, two, external_id="sku-1")
    assert (response.status_code, response.json()["code"]) == (422, "external_id_for_many")
    (image_id,) = await uploaded_ids(client, one, external_id="sku-1")
    assert (await client.get(f"/images/{image_id}")).json()["external_id"] == "sku-1"
    response = await upload(client, two, external_id="sku-1")
    assert (response.status_code, response.json()["code"]) == (422, "external_id_taken")
    assert (await uploaded_ids(client, one, external_id="sku-1")) == [image_id], "the same upload again is no conflict"


async def test_too_many_files_are_refused(client: httpx.AsyncClient, api_settings: ApiSettings) -> None:
    files = [b"x"] * (api_settings.upload.max_files + 1)
    response = await upload(client, *files)
    assert (response.status_code, response.json()["code"]) == (413, "too_many_files")


async def test_attributes_survive_as_they_are(client: httpx.AsyncClient) -> None:
    attributes = {"größe": [1, 2.5, None], "nested": {"a": "ü"}}
    response = await upload(client, pictures.jpeg(seed=8), attributes=json.dumps(attributes))
    (image,) = response.json()["images"]
    assert (await client.get(f"/images/{image['id']}")).json()["attributes"] == attributes


@pytest.mark.parametrize(
    ("given", "kept"), [("../../etc/größe.jpg", "größe.jpg"), ("C:\\a\\b.jpg", "b.jpg"), ("a\x07b.jpg", "ab.jpg")]
)
async def test_a_file_keeps_its_own_name_alone(client: httpx.AsyncClient, given: str, kept: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n--x--\r\n'
    response = await client.post(
        "/images/upload",
        content=body % (given.encode(), pictures.jpeg(seed=9)),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert response.json()["images"][0]["filename"] == kept


async def test_a_one_pixel_image_is_accepted(client: httpx.AsyncClient) -> None:
    await uploaded_ids(client, pictures.encode(Image.new("RGB", (1, 1)), ImageFormat.PNG))


async def test_an_upload_that_stalls_is_given_up(
    api_settings: ApiSettings, vectors: VectorIndex, database: Database
) -> None:
    limits = api_settings.upload.model_copy(update={"idle_timeout_s": 0.2})
    async with running_api(api_settings.model_copy(update={"upload": limits}), vectors):
        reader, writer = await asyncio.open_connection(api_settings.http.host, api_settings.http.port)
        head = b"POST /images/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
        writer.write(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x")
        async with asyncio.timeout(60):
            answer = await reader.readuntil(b"\r\n")
        writer.close()
        await writer.wait_closed()
    assert b"422" in answer
    assert await count_rows(database) == 0
