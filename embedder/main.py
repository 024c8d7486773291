"""The embedder's application."""

from functools import partial

from fastapi import FastAPI

from common.budget import Budget
from common.draining import CloseConnections, Drain
from common.embedding import MAX_IMAGES, MAX_TEMPLATE_CHARS, MAX_TEXT_CHARS, MAX_TEXTS
from common.error_metrics import count_error
from common.starting import settle_memory
from common.trail import RequestTrail
from embedder import openai_api, probes, routes
from embedder.errors import OPENAI_PREFIX, answer_defect, install_error_handlers
from embedder.lifespan import create_lifespan
from embedder.metrics import Metrics
from embedder.middleware import BodyLimit, CancelAbandoned
from embedder.model import ClipModel, ObserveStep
from embedder.served import LoadModel
from embedder.settings import EmbedderSettings, Settings

_FORM_OVERHEAD = 64 * 1024
_LARGEST_IMAGE_SIZE = 512
_BYTES_PER_CHAR = 6  # \u1234 in JSON


def _load_with_torch(settings: EmbedderSettings, observe: ObserveStep) -> ClipModel:
    # Importing torch and open_clip takes several seconds; the server answers probes meanwhile.
    from embedder.loader import load_model  # noqa: PLC0415

    model = load_model(settings, observe)
    settle_memory()
    return model


def create_app(settings: Settings, load: LoadModel = _load_with_torch, drain: Drain | None = None) -> FastAPI:
    """Create the application; nothing is opened before its lifespan begins, which has `load` make the model.

    `drain` says whether its server is about to stop; None: it never does.
    """
    metrics = Metrics()
    app = FastAPI(title="Likeness embedder", lifespan=create_lifespan(settings, metrics, load))
    app.state.metrics = metrics
    app.state.drain = drain or Drain()
    app.include_router(routes.router)
    app.include_router(openai_api.router)
    app.include_router(probes.router)
    install_error_handlers(app)
    app.add_middleware(CancelAbandoned)
    memory = Budget(settings.embedder.bytes_in_flight)
    app.add_middleware(BodyLimit, limits=_body_limits(settings), default=_FORM_OVERHEAD, memory=memory)
    app.add_middleware(CloseConnections, drain=app.state.drain)
    app.add_middleware(
        RequestTrail,
        defect=answer_defect,
        on_defect=partial(count_error, "embedder"),
        on_end=metrics.http.answered,
    )
    return app


def _body_limits(settings: Settings) -> dict[str, int]:
    return {
        "/encode": settings.upload.max_file_bytes + _FORM_OVERHEAD,
        "/encode/batch": settings.embedder.max_batch_bytes + _FORM_OVERHEAD,
        "/encode/text": MAX_TEXTS * (MAX_TEXT_CHARS + MAX_TEMPLATE_CHARS) * _BYTES_PER_CHAR + _FORM_OVERHEAD,
        f"{OPENAI_PREFIX}/embeddings": openai_api.longest_body(settings.upload),
        "/encode/pixels": MAX_IMAGES * _LARGEST_IMAGE_SIZE**2 * 3,
    }
