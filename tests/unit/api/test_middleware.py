"""Around every request: an id that client, log and answer share, and counts that can't grow without bound."""

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI
from prometheus_client import REGISTRY
from starlette.types import Message, Receive, Scope, Send
from structlog.typing import EventDict

from api.errors import add_error_handlers
from api.middleware import RequestContext
from common.errors import NotFound

MADE_ID = re.compile(r"[0-9a-f]{32}")


def create_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestContext)
    add_error_handlers(app)
    router = APIRouter(prefix="/things")

    @router.get("/{thing_id}")
    async def get_thing(thing_id: str) -> dict[str, str]:
        structlog.get_logger("handler").info("handling")
        match thing_id:
            case "missing":
                raise NotFound("there is no such thing")
            case "broken":
                raise KeyError("password=hunter2")
        return {"id": thing_id}

    app.include_router(router)
    return app


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as opened:
        yield opened


def count(route: str, status: int, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("likeness_http_requests_total", labels) or 0


@pytest.mark.parametrize("path", ["/things/1", "/things/missing", "/things/broken", "/nowhere"])
async def test_every_answer_carries_the_requests_id_and_may_not_be_sniffed(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path, headers={"X-Request-ID": "from-the-client.1"})
    assert response.headers["x-request-id"] == "from-the-client.1"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("given", [None, "", "a" * 129, "ä", "a b", "a\tb", '"', "{}", "a/b"])
async def test_an_id_is_made_where_none_or_a_strange_one_is_given(client: httpx.AsyncClient, given: str | None) -> None:
    headers = [] if given is None else [(b"X-Request-ID", given.encode())]
    response = await client.get("/things/1", headers=headers)
    assert MADE_ID.fullmatch(response.headers["x-request-id"])


async def test_made_ids_differ(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/things/1")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


async def test_methods_that_anybody_can_make_up_are_counted_as_one(client: httpx.AsyncClient) -> None:
    before = count("/things/{thing_id}", 405, "other")
    for method in ("KITTEN", "PUPPY"):
        await client.request(method, "/things/1")
    assert count("/things/{thing_id}", 405, "other") == before + 2
    assert count("/things/{thing_id}", 405, "KITTEN") == 0


async def test_a_defect_is_a_problem_that_gives_nothing_away(client: httpx.AsyncClient, logs: list[EventDict]) -> None:
    response = await client.get("/things/broken", headers={"X-Request-ID": "r-3"})
    (defect,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (defect["event"], defect["request_id"], defect["exc_info"]) == ("defect", "r-3", True)
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "internal_error"
    assert "hunter2" not in response.text


async def test_the_log_has_the_id_and_one_line_a_request(client: httpx.AsyncClient, logs: list[EventDict]) -> None:
    await client.get("/things/1", headers={"X-Request-ID": "r-1"})
    await client.get("/things/missing", headers={"X-Request-ID": "r-2"})
    assert [(entry["event"], entry["request_id"]) for entry in logs] == [
        ("handling", "r-1"),
        ("request", "r-1"),
        ("handling", "r-2"),
        ("request", "r-2"),
    ]
    access = logs[3]
    assert (access["method"], access["route"], access["status"]) == ("GET", "/things/{thing_id}", 404)
    assert access["ms"] >= 0
    assert "request_id" not in structlog.contextvars.get_contextvars(), "and the next request has its own"


async def test_requests_are_counted_by_route_and_status(client: httpx.AsyncClient) -> None:
    route = "/things/{thing_id}"
    before = {status: count(route, status) for status in (200, 404, 500)}
    for thing in ("1", "2", "missing", "broken"):
        await client.get(f"/things/{thing}")
    assert {status: count(route, status) - before[status] for status in before} == {200: 2, 404: 1, 500: 1}


async def test_paths_that_are_nowhere_share_one_label(client: httpx.AsyncClient) -> None:
    before = count("unmatched", 404)
    for path in ("/nowhere/1", "/nowhere/2"):
        await client.get(path)
    assert count("unmatched", 404) - before == 2


async def test_a_defect_after_the_answer_began_cuts_the_connection_and_is_counted() -> None:
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OSError("the object store went away")

    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        raise AssertionError("nobody reads this body")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(OSError, match="went away"):
        await RequestContext(half)(scope, receive, send)
    assert len(sent) == 1


async def test_what_is_not_http_passes_untouched() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    async def receive() -> Message:
        return {}

    async def send(_: Message) -> None:
        """Nobody listens."""

    scope: Scope = {"type": "lifespan"}
    await RequestContext(app)(scope, receive, send)
    assert seen == [scope]
