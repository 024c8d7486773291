"""Every error leaves as a problem with the status of its kind, a stable code, and advice when to come back."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, FastAPI, Query
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from structlog.testing import capture_logs

from api.errors import RETRY_AFTER_S, add_error_handlers, status_of
from common import errors
from common.errors import (
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    DownloadFailed,
    EmbedderUnavailable,
    EmbeddingInvalid,
    Forbidden,
    ImageRejected,
    ImageTooLarge,
    ImageUnreadable,
    InfrastructureError,
    InvalidCursor,
    InvalidInput,
    LikenessError,
    NotFound,
    ObjectCorrupt,
    ObjectNotFound,
    Overloaded,
    OwnershipLost,
    QueueUnavailable,
    SettingsInvalid,
    StorageUnavailable,
    UnknownModel,
    UnsupportedMedia,
    UrlRefused,
    VectorIndexRefused,
    VectorIndexUnavailable,
)
from tests.fixtures.counting import counted_errors

# The contract (architecture, section 5), class by class: whoever adds an error says here what clients see.
CONTRACT: dict[type[LikenessError], int] = {
    LikenessError: 500,
    OwnershipLost: 500,
    DownloadFailed: 500,
    UrlRefused: 422,
    Forbidden: 403,
    InvalidInput: 422,
    InvalidCursor: 422,
    NotFound: 404,
    Conflict: 409,
    ImageRejected: 422,
    UnsupportedMedia: 415,
    ImageTooLarge: 413,
    ImageUnreadable: 422,
    Overloaded: 429,
    ConfigurationError: 503,
    SettingsInvalid: 503,
    InfrastructureError: 503,
    DatabaseUnavailable: 503,
    QueueUnavailable: 503,
    StorageUnavailable: 503,
    ObjectNotFound: 503,
    ObjectCorrupt: 503,
    VectorIndexUnavailable: 503,
    VectorIndexRefused: 503,
    EmbedderUnavailable: 503,
    EmbeddingInvalid: 503,
    UnknownModel: 503,
}


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int = 0


class Failing:
    """An app that raises what a test wants, and a client of it."""

    def __init__(self) -> None:
        self.error: Callable[[], Exception] = RuntimeError
        app = FastAPI()
        add_error_handlers(app)

        @app.get("/fail")
        async def fail() -> None:
            raise self.error()

        @app.post("/thing")
        async def thing(given: Annotated[Thing, Body()], limit: Annotated[int, Query(ge=1)] = 1) -> None:
            """Take a thing."""

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://api")


@pytest.fixture
async def failing() -> AsyncIterator[Failing]:
    app = Failing()
    async with app.client:
        yield app


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    return problem


def test_every_error_has_its_status() -> None:
    ours = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LikenessError)}
    assert set(CONTRACT) == ours
    assert {kind: int(status_of(kind("it failed"))) for kind in CONTRACT} == CONTRACT


def test_a_new_kind_of_error_goes_by_its_family() -> None:
    class DiskOnFire(StorageUnavailable):
        """Not in any table."""

    assert status_of(DiskOnFire("smoke")) == 503


@pytest.mark.parametrize("kind", CONTRACT)
async def test_errors_are_problems(failing: Failing, kind: type[LikenessError]) -> None:
    failing.error = lambda: kind("it failed", code="quite_special")
    response = await failing.client.get("/fail")
    problem = assert_problem(response, CONTRACT[kind], "quite_special")
    assert problem["detail"] == "it failed"
    assert ("retry-after" in response.headers) == (CONTRACT[kind] in {429, 503})


@pytest.mark.parametrize(("advice", "header"), [(0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (30, "30")])
async def test_overload_advises_in_whole_seconds(failing: Failing, advice: float, header: str) -> None:
    failing.error = lambda: Overloaded("full", retry_after=advice)
    assert (await failing.client.get("/fail")).headers["retry-after"] == header


async def test_an_outage_advises_to_come_back(failing: Failing) -> None:
    failing.error = lambda: DatabaseUnavailable("PostgreSQL: gone")
    assert (await failing.client.get("/fail")).headers["retry-after"] == str(RETRY_AFTER_S)


@pytest.mark.parametrize(
    ("url", "body", "where"),
    [
        ("/thing", b"{", "body"),
        ("/thing", b"[]", "body"),
        ("/thing", b'{"number": "many"}', "body.number"),
        ("/thing", b'{"other": 1}', "body.other"),
        ("/thing", b'{"\\ud800": 1}', "body"),
        ("/thing?limit=0", b"{}", "query.limit"),
    ],
)
async def test_a_request_that_is_not_understood_says_where(failing: Failing, url: str, body: bytes, where: str) -> None:
    response = await failing.client.post(url, content=body, headers={"content-type": "application/json"})
    problem = assert_problem(response, 422, "invalid_request")
    assert problem["detail"].startswith(where)
    assert all({"loc", "msg", "type"} == set(error) for error in problem["errors"])
    assert "errors.pydantic.dev" not in response.text


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(failing: Failing) -> None:
    assert_problem(await failing.client.get("/nowhere"), 404, "not_found")
    response = await failing.client.delete("/fail")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET"


async def test_an_http_exception_keeps_its_headers(failing: Failing) -> None:
    failing.error = lambda: HTTPException(401, "who are you?", headers={"WWW-Authenticate": "Bearer"})
    response = await failing.client.get("/fail")
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_client_that_has_gone_is_no_defect(failing: Failing) -> None:
    failing.error = ClientDisconnect
    with capture_logs() as logs:
        assert_problem(await failing.client.get("/fail"), 400, "client_gone")
    assert [(line["event"], "/fail" in str(line)) for line in logs] == [("client_gone", False)], "paths are in no log"


async def test_what_is_refused_before_any_code_of_ours_sees_it_is_counted(failing: Failing) -> None:
    with counted_errors("api") as counted:
        await failing.client.post("/thing", json={"other": 1})
        await failing.client.get("/nowhere")
        await failing.client.delete("/fail")
        failing.error = ClientDisconnect
        await failing.client.get("/fail")
        failing.error = lambda: HTTPException(418)
        await failing.client.get("/fail")
    assert counted == {
        ("request", code): 1 for code in ("invalid_request", "not_found", "method_not_allowed", "client_gone", "other")
    }
