"""What browsers are told with every answer there is, and under which name they get a file."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from common.db.engine import Database
from tests.fixtures import pictures
from tests.fixtures.uploading import settled, uploaded_ids
from worker.context import WorkerContext

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
NOTHING = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
BYTES = "default-src 'none'; sandbox; frame-ancestors 'none'"
PAGE = "default-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
MISSING = "/images/7c1f0f0e-0000-4000-8000-0000000000ff"
PICTURE = {"files": {"file": ("a.jpg", pictures.jpeg(seed=1), "image/jpeg")}}


@dataclass(frozen=True)
class Ask:
    """A request and its answer: {id} in the path is an image that is done."""

    method: str
    path: str
    status: int
    policy: str = NOTHING
    more: dict[str, Any] = field(default_factory=dict)


ASKS = [
    Ask("POST", "/images/upload", 202, more=PICTURE),
    Ask("POST", "/images/import", 403, more={"json": {"url": "https://pictures.example/a.png"}}),
    Ask("GET", "/images", 200),
    Ask("POST", "/images/status", 200, more={"json": {"ids": [str(uuid4())]}}),
    Ask("GET", "/images/{id}", 200),
    Ask("PATCH", "/images/{id}", 200, more={"json": {"title": "t"}}),
    Ask("POST", "/images/{id}/requeue", 409),
    Ask("GET", "/images/{id}/similar", 200),
    Ask("GET", "/images/{id}/content", 200, BYTES),
    Ask("GET", "/images/{id}/content", 206, BYTES, {"headers": {"Range": "bytes=0-1"}}),
    Ask("GET", "/images/{id}/content", 304, BYTES, {"headers": {"If-None-Match": "*"}}),
    Ask("GET", "/images/{id}/content", 416, BYTES, {"headers": {"Range": "bytes=-0"}}),
    Ask("HEAD", "/images/{id}/content", 200, BYTES),
    Ask("GET", "/images/{id}/thumbnail", 200, BYTES),
    Ask("DELETE", MISSING, 404),
    Ask("GET", "/search/text", 422),
    Ask("POST", "/search", 422, more={"json": {}}),
    Ask("POST", "/search/image", 200, more=PICTURE),
    Ask("GET", "/duplicates", 200),
    Ask("POST", "/duplicates/{group_id}/dismiss", 422),
    Ask("DELETE", "/duplicates/{group_id}/dismiss", 422),
    Ask("GET", "/health", 200),
    Ask("GET", "/ready", 200),
    Ask("GET", "/metrics", 200),
    Ask("GET", "/openapi.json", 200),
    Ask("GET", "/", 200, PAGE),
    Ask("GET", "/web/app.js", 200),
    Ask("GET", "/web/icon.svg", 200),
    Ask("GET", "/web/nothing", 404),
    Ask("GET", "/web", 307),
    Ask("GET", "/nowhere", 404),
    Ask("PUT", "/images", 405),
    Ask("POST", "/images/status", 413, more={"content": b" " * 1_000_001}),  # declared: before the body
]


async def check(client: httpx.AsyncClient, ask: Ask, image_id: str = "") -> None:
    response = await client.request(ask.method, ask.path.replace("{id}", image_id), **ask.more)
    assert response.status_code == ask.status, (ask, response.text)
    told = {name: response.headers.get_list(name) for name in (*ALWAYS, "content-security-policy")}
    wanted = {name: [value] for name, value in (ALWAYS | {"content-security-policy": ask.policy}).items()}
    assert told == wanted, ask


async def test_every_kind_of_answer(client: httpx.AsyncClient, worker: WorkerContext) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(seed=2))
    await settled(client, [image_id])
    for ask in ASKS:
        await check(client, ask, image_id)


async def test_the_answer_to_a_defect(client: httpx.AsyncClient, database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("ALTER TABLE images RENAME TO gone"))
    await check(client, Ask("GET", "/images", 500))


async def test_no_route_is_forgotten(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    asked = {(ask.method, ask.path.replace(MISSING, "/images/{id}").replace("{id}", "{image_id}")) for ask in ASKS}
    assert routes <= asked


async def test_the_viewer_may_run_its_scripts_and_no_others(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    viewer, script = policy["script-src"].split(" ")
    assert script.startswith("'sha256-")
    sources = [part.partition('"')[0] for part in response.text.split('src="')[1:]]
    assert sources
    assert all(source.startswith(viewer) for source in sources)
    assert response.text.count("<script") == 2, "one of them by its address, one by its hash"
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert (await client.get(path)).status_code == 404, "no page without a policy of its own"


@pytest.mark.parametrize(
    ("filename", "plain", "encoded"),
    [
        ("cat.jpg", "cat.jpg", "cat.jpg"),
        ("Käse & Brot.png", "Kase _ Brot.png", "K%C3%A4se%20%26%20Brot.png"),
        ("猫.webp", ".webp", "%E7%8C%AB.webp"),
        ("猫", "image", "%E7%8C%AB"),
        ('a"; filename="b.html', "a__ filename__b.html", "a%22%3B%20filename%3D%22b.html"),
        ("100%25.gif", "100_25.gif", "100%2525.gif"),
        ("a\r\nSet-Cookie: b", "a__Set-Cookie_ b", "a%0D%0ASet-Cookie%3A%20b"),
    ],
    ids=["plain", "letters", "no-ascii", "no-letter", "quotes", "percent", "lines"],
)
async def test_a_file_keeps_its_name_and_nothing_slips_into_the_header(
    client: httpx.AsyncClient, database: Database, filename: str, plain: str, encoded: str
) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(seed=3))
    async with database.begin() as session:
        await session.execute(text("UPDATE images SET filename = :name"), {"name": filename})
    shown = await client.get(f"/images/{image_id}/content")
    assert shown.headers["content-disposition"] == f"inline; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml"])
async def test_what_is_none_of_the_eight_formats_is_never_shown(
    client: httpx.AsyncClient, database: Database, media_type: str
) -> None:
    (image_id,) = await uploaded_ids(client, pictures.jpeg(seed=4))
    async with database.begin() as session:
        await session.execute(text("UPDATE images SET media_type = :type"), {"type": media_type})
    response = await client.get(f"/images/{image_id}/content")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment; ")
