"""`/health`, `/ready` and `/metrics` of a worker that runs as a process of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.errors import LikenessError
from common.serving import serving
from worker.context import WorkerContext
from worker.settings import PipelineSettings


@asynccontextmanager
async def serve_health(context: WorkerContext, settings: PipelineSettings) -> AsyncIterator[None]:
    """Answer probes while inside."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        embedder = await context.embedder.ready()
        states = {
            "database": await _state(context.database.ping),
            "storage": await _state(context.storage.ping),
            "vectors": await _state(context.vectors.ping),
            "embedder": "ok" if embedder.ok else embedder.detail,
        }
        fine = all(state == "ok" for state in states.values())
        return JSONResponse({"ready": fine, "dependencies": states}, 200 if fine else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app = Starlette(routes=[Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)])
    async with serving(app, settings.health_host, settings.health_port):
        yield


async def _state(ping: Callable[[], Awaitable[None]]) -> str:
    try:
        await ping()
    except LikenessError as error:
        return str(error)
    return "ok"
