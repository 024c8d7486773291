"""`/health`, `/ready` and `/metrics` of a worker that runs as a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.breakers import DATABASE, EMBEDDER, STORAGE, VECTORS
from common.embedding import ModelInfo
from common.exposition import MEDIA_TYPE, expose
from common.readiness import Dependency, Ready, probe, probe_embedder
from common.serving import serving
from common.trail import RequestTrail
from worker.context import WorkerContext
from worker.settings import PipelineSettings


@asynccontextmanager
async def serve_health(context: WorkerContext, settings: PipelineSettings) -> AsyncIterator[None]:
    """Answer probes while inside."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        dependencies, model = await probe_worker(context)
        return Ready.of(dependencies, model).response()

    async def metrics(_: Request) -> Response:
        return Response(expose(), media_type=MEDIA_TYPE)

    app = Starlette(routes=[Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)])
    async with serving(RequestTrail(app), settings.health_host, settings.health_port):
        yield


async def probe_worker(context: WorkerContext) -> tuple[list[Dependency], ModelInfo | None]:
    """Ask all that a worker needs, and which model the embedder serves."""
    breakers = context.breakers
    (embedder, model), stores = await asyncio.gather(
        probe_embedder(context.embedder, breakers[EMBEDDER]),
        asyncio.gather(
            probe(DATABASE, context.database.ping),
            probe(STORAGE, context.storage.ping, breakers[STORAGE]),
            probe(VECTORS, context.vectors.ping, breakers[VECTORS]),
        ),
    )
    return [*stores, embedder], model
