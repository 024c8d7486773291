"""Liveness, readiness, metrics."""

from fastapi import APIRouter, Request, Response, status

from common.draining import DETAIL
from common.embedding import Readiness
from common.exposition import MEDIA_TYPE
from embedder.dependencies import MetricsDep, ServiceDep

router = APIRouter()


@router.get("/health")
async def get_health() -> dict[str, str]:
    """Answer while the process is alive."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"model": Readiness}})
async def get_ready(service: ServiceDep, request: Request, response: Response) -> Readiness:
    """Say whether requests are served, and if not, why."""
    readiness = await service.check_ready()
    if request.app.state.drain.began:
        readiness = readiness.model_copy(update={"status": "draining", "detail": DETAIL})
    if not readiness.ok:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return readiness


@router.get("/metrics", response_class=Response)
async def get_metrics(metrics: MetricsDep) -> Response:
    """Expose the metrics to Prometheus."""
    return Response(metrics.expose(), media_type=MEDIA_TYPE)
