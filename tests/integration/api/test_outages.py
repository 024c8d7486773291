"""The api while a store hangs, or while there is too much to do: a quick answer, and well again by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from api.main import create_app
from api.settings import ApiSettings
from common.db.engine import Database
from common.serving import serving
from common.settings import BreakerSettings
from common.vectors.base import VectorIndex
from tests.fixtures import pictures
from tests.fixtures.proxy import Proxy, proxy_to
from tests.fixtures.rows import new_image, record_done, record_pending
from tests.fixtures.uploading import upload, uploaded_ids

BREAKERS = BreakerSettings(failures=2, pause_s=0.05, probe_timeout_s=5)
DONE = text("UPDATE images SET status = 'done' WHERE status = 'pending'")
SOON_S = 60
"""Far more than any deadline set here, and less than one that is not."""


@pytest.fixture
def serve(vectors: VectorIndex) -> Callable[[ApiSettings], Any]:
    @asynccontextmanager
    async def serve_api(settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
        url = f"http://127.0.0.1:{settings.http.port}"
        async with (
            serving(create_app(settings, vectors=vectors), settings.http.host, settings.http.port),
            httpx.AsyncClient(base_url=url, timeout=SOON_S, trust_env=False) as client,
        ):
            yield client

    return serve_api


Serve = Callable[[ApiSettings], Any]


def changed(settings: ApiSettings, **groups: dict[str, object]) -> ApiSettings:
    """Change some settings of some groups."""
    update = {group: getattr(settings, group).model_copy(update=values) for group, values in groups.items()}
    return settings.model_copy(update={"breakers": BREAKERS, **update})


async def through_proxies(stack: AsyncExitStack, settings: ApiSettings) -> tuple[ApiSettings, dict[str, Proxy]]:
    """Put a proxy before the object store, PostgreSQL and Redis."""
    database = make_url(settings.database.url.get_secret_value())
    redis = urlsplit(settings.redis.url.get_secret_value())
    ports = {"storage": urlsplit(settings.s3.endpoint).port, "database": database.port, "redis": redis.port}
    proxies = {name: await stack.enter_async_context(proxy_to(port or 0)) for name, port in ports.items()}
    redis_url = redis._replace(netloc=redis.netloc.replace(str(redis.port), str(proxies["redis"].port))).geturl()
    database_url = database.set(port=proxies["database"].port).render_as_string(hide_password=False)
    return (
        changed(
            settings,
            s3={"endpoint": f"http://127.0.0.1:{proxies['storage'].port}", "timeout_s": 0.5, "read_timeout_s": 0.5},
            database={"url": SecretStr(database_url), "connect_timeout_s": 0.5},
            redis={"url": SecretStr(redis_url)},
            upload={"idle_timeout_s": 3600},
        ),
        proxies,
    )


async def answer_before_the_body(settings: ApiSettings) -> bytes:
    """Announce an upload without sending it; return the head of the answer that comes all the same."""
    reader, writer = await asyncio.open_connection(settings.http.host, settings.http.port)
    try:
        head = "POST /images/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
        writer.write(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(SOON_S):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def until(answer: Callable[[], Awaitable[httpx.Response]], status: int) -> httpx.Response:
    """Ask until it is answered like that."""
    async with asyncio.timeout(SOON_S):
        while (response := await answer()).status_code != status:  # noqa: ASYNC110 - it asks over HTTP
            await asyncio.sleep(0.02)
    return response


async def breaker_states(client: httpx.AsyncClient) -> dict[str, str]:
    return {item["name"]: item["breaker"] for item in (await client.get("/ready")).json()["dependencies"]}


@pytest.mark.parametrize("store", ["storage", "database"])
async def test_a_store_that_hangs_is_a_quick_503_and_heals_by_itself(
    api_settings: ApiSettings, serve: Serve, store: str
) -> None:
    async with AsyncExitStack() as stack:
        settings, proxies = await through_proxies(stack, api_settings)
        client = await stack.enter_async_context(serve(settings))
        await uploaded_ids(client, pictures.jpeg(seed=20))
        proxies[store].stall()
        # Not known to be down yet: the answer comes within the deadlines.
        refused = await upload(client, pictures.jpeg(seed=21))
        assert (refused.status_code, refused.json()["code"]) == (503, f"{store}_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        # Known to be down: the answer comes before the body, at once.
        await upload(client, pictures.jpeg(seed=21))
        head = await answer_before_the_body(settings)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in head.lower()
        ready = await client.get("/ready")
        assert ready.status_code == 503
        (shown,) = [item for item in ready.json()["dependencies"] if item["name"] == store]
        assert (shown["ok"], shown["breaker"] in {"open", "half_open"}) == (False, True)
        assert "not asked" in shown["detail"]
        proxies[store].go_on()
        assert (await until(lambda: upload(client, pictures.jpeg(seed=21)), 202)).json()["rejected"] == []
        await until(lambda: client.get("/ready"), 200)
        assert (await breaker_states(client))[store] == "closed"


async def test_metrics_show_which_breaker_is_open(api_settings: ApiSettings, serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        settings, proxies = await through_proxies(stack, api_settings)
        client = await stack.enter_async_context(serve(settings))

        async def shown() -> dict[str, str]:
            lines = (await client.get("/metrics")).text.splitlines()
            # Other tests of this process may have had a worker.
            own = (line for line in lines if line.startswith("likeness_breaker_open{") and 'service="api"' in line)
            return dict(line.rsplit(" ", 1) for line in own if 'dependency="storage"' in line)

        assert await shown() == {'likeness_breaker_open{dependency="storage",service="api"}': "0.0"}
        proxies["storage"].stall()
        await asyncio.gather(*(upload(client, pictures.jpeg(seed=seed)) for seed in (22, 23)))
        assert await shown() == {'likeness_breaker_open{dependency="storage",service="api"}': "1.0"}


async def test_without_redis_uploads_are_accepted(api_settings: ApiSettings, serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        settings, proxies = await through_proxies(stack, api_settings)
        client = await stack.enter_async_context(serve(settings))
        proxies["redis"].stall()
        await uploaded_ids(client, pictures.jpeg(seed=24))
        assert (await client.get("/ready")).status_code == 200


async def test_too_many_uploads_at_once_are_429_before_the_body(api_settings: ApiSettings, serve: Serve) -> None:
    settings = changed(api_settings, upload={"max_concurrent": 1, "idle_timeout_s": 3600})
    data = pictures.jpeg(seed=25)
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + data + b"\r\n--x--\r\n"
    async with serve(settings) as client:
        reader, writer = await asyncio.open_connection(settings.http.host, settings.http.port)
        head = f"POST /images/upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(part)}\r\n"
        writer.write(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(SOON_S):
            assert b" 100 " in await reader.readuntil(b"\r\n\r\n"), "it was let in"
        writer.write(part[:100])
        await writer.drain()
        refused = await upload(client, data)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_uploads")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await answer_before_the_body(settings)).startswith(b"HTTP/1.1 429 ")
        assert (await client.get("/images")).status_code == 200, "nothing else is refused"
        writer.write(part[100:])
        async with asyncio.timeout(SOON_S):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 202 "), "the one that was let in is served"
        await until(lambda: upload(client, data), 202)


async def test_a_long_backlog_is_429_until_it_is_worked_off(
    api_settings: ApiSettings, serve: Serve, database: Database
) -> None:
    settings = changed(api_settings, upload={"max_backlog": 2, "idle_timeout_s": 3600})
    await record_done(database, *(new_image() for _ in range(5)))
    await record_pending(database, new_image(), new_image())
    async with serve(settings) as client:
        await uploaded_ids(client, pictures.jpeg(seed=26))  # two is not too many; now there are three
        refused = await until(lambda: upload(client, pictures.jpeg(seed=27)), 429)
        assert refused.json()["code"] == "backlog_full"
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await answer_before_the_body(settings)).startswith(b"HTTP/1.1 429 ")
        async with database.begin() as session:
            await session.execute(DONE)
        await until(lambda: upload(client, pictures.jpeg(seed=27)), 202)


async def test_openapi_tells_of_429_and_503_with_their_header(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    answers = paths["/images/upload"]["post"]["responses"]
    for status in ("429", "503"):
        assert answers[status]["headers"]["Retry-After"]["schema"] == {"type": "integer"}
        assert "application/problem+json" in answers[status]["content"]
    assert "headers" not in answers["404"]
