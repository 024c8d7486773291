"""Liveness, readiness, metrics."""

import asyncio

from fastapi import APIRouter, Request, Response

from common import jobs
from common.breakers import DATABASE, EMBEDDER, REDIS, STORAGE, VECTORS, Breakers
from common.draining import DETAIL
from common.exposition import MEDIA_TYPE, expose
from common.readiness import Dependency, Ready, find_live_models, probe, probe_embedder

router = APIRouter(tags=["health"])


@router.get("/health", summary="Alive?")
async def health() -> dict[str, str]:
    """Answer 200 while the process is alive."""
    return {"status": "alive"}


@router.get("/ready", responses={503: {"model": Ready}}, response_model=Ready, summary="Ready?")
async def ready(request: Request) -> Response:
    """Answer 200 when everything that requests need works, 503 with the state of each dependency otherwise.

    503 also when the service has been told to stop: who chooses between several sends it nothing more.
    """
    state = request.state
    breakers: Breakers = state.breakers
    (embedder, model), live, others = await asyncio.gather(
        probe_embedder(state.embedder, breakers[EMBEDDER]),
        find_live_models(state.database),
        asyncio.gather(
            probe(DATABASE, state.database.ping, breakers[DATABASE]),
            probe(STORAGE, state.storage.ping, breakers[STORAGE]),
            probe(VECTORS, state.vectors.ping, breakers[VECTORS]),
            probe("queue", lambda: jobs.ping(state.redis), breakers[REDIS], needed=False),
            *(ask() for ask in state.neighbours),
        ),
    )
    draining = [Dependency(name="api", ok=False, detail=DETAIL)] if request.app.state.drain.began else []
    return Ready.of([*draining, *others, embedder], model, live).response()


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Answer this process's metrics in Prometheus' text format."""
    return Response(expose(), media_type=MEDIA_TYPE)
