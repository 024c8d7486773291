"""Liveness, readiness, metrics."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from common import jobs
from common.embedder_client import EmbedderClient
from common.errors import LikenessError

router = APIRouter(tags=["health"])

_PROBE_DEADLINE_S = 3.0


class Dependency(BaseModel):
    """A store or service this one needs."""

    name: str
    ok: bool
    needed: bool
    detail: str = ""


class Ready(BaseModel):
    """Whether requests can be served, dependency by dependency."""

    ready: bool
    dependencies: list[Dependency]
    model: str | None = None
    demo: bool = False


@router.get("/health", summary="Alive?")
async def health() -> dict[str, str]:
    """Answer 200 while the process is alive."""
    return {"status": "alive"}


@router.get("/ready", responses={503: {"model": Ready}}, response_model=Ready, summary="Ready?")
async def ready(request: Request) -> Response:
    """Answer 200 when everything that requests need works, 503 with the state of each dependency otherwise."""
    state = request.state
    embedder: EmbedderClient = state.embedder
    readiness, *stores = await asyncio.gather(
        embedder.ready(),
        _probe("database", state.database.ping()),
        _probe("storage", state.storage.ping()),
        _probe("vectors", state.vectors.ping()),
        _probe("queue", jobs.ping(state.redis), needed=False),
    )
    dependencies = [*stores, Dependency(name="embedder", ok=readiness.ok, needed=True, detail=readiness.detail)]
    served = readiness.model
    answer = Ready(
        ready=all(dependency.ok for dependency in dependencies if dependency.needed),
        dependencies=dependencies,
        model=served.label if served else None,
        demo=bool(served and served.demo),
    )
    return JSONResponse(answer.model_dump(), HTTPStatus.OK if answer.ready else HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Answer this process's metrics in Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _probe(name: str, check: Awaitable[None], *, needed: bool = True) -> Dependency:
    try:
        async with asyncio.timeout(_PROBE_DEADLINE_S):
            await check
    except (LikenessError, TimeoutError) as error:
        return Dependency(name=name, ok=False, needed=needed, detail=str(error) or "no answer in time")
    return Dependency(name=name, ok=True, needed=needed)
