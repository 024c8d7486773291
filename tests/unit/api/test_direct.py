"""Routes that FastAPI prepares nothing for."""

import httpx
from fastapi import APIRouter, Depends, FastAPI, Request, Response

from api.dependencies import SESSION_PARAMETER, SearchesDep
from api.direct import DirectRoute
from api.routers import search


async def test_the_endpoint_answers_what_it_returns() -> None:
    async def prepare() -> None:
        raise AssertionError("FastAPI's own handler would answer the same, later")

    router = APIRouter(route_class=DirectRoute, dependencies=[Depends(prepare)])

    @router.get("/things/{id}")
    async def thing(request: Request) -> Response:
        return Response(f"{request.path_params['id']} {request.query_params['of']}", 203)

    app = FastAPI()
    app.router.routes += router.routes
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        answer = await client.get("/things/7", params={"of": "mine"})
        refused = await client.post("/things/7")
    assert (answer.status_code, answer.text) == (203, "7 mine")
    assert refused.status_code == 405


def test_the_session_is_documented_as_where_fastapi_reads_it() -> None:
    app = FastAPI()

    @app.get("/")
    async def route(searches: SearchesDep) -> None: ...

    assert app.openapi()["paths"]["/"]["get"]["parameters"] == [SESSION_PARAMETER]


def test_searches_by_url_are_documented_with_the_session() -> None:
    app = FastAPI()
    app.include_router(search.direct)
    paths = app.openapi()["paths"]
    assert set(paths) == {"/images/{image_id}/similar", "/search/text"}
    assert all(path["get"]["parameters"][-1] == SESSION_PARAMETER for path in paths.values())
