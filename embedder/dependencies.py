"""What routes are handed. Coroutines all of them: plain functions would each cost a hop to a thread."""

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Query, Request

from common.embedding import MODEL_PARAMETER, VERSION_PARAMETER, Priority
from common.errors import UnknownModel
from embedder.caller import Caller, read_caller
from embedder.decoder import ImageDecoder
from embedder.engine import Engine
from embedder.metrics import Metrics
from embedder.service import EmbedderService


class State(TypedDict):
    """What the lifespan opens."""

    service: EmbedderService
    decoder: ImageDecoder


async def _service(request: Request) -> EmbedderService:
    return cast("EmbedderService", request.state.service)


_Label = Annotated[
    str | None, Query(alias=MODEL_PARAMETER, description="Label of the model that is to answer; see `GET /models`.")
]


_Version = Annotated[
    int | None, Query(alias=VERSION_PARAMETER, description="Which version of preprocessing it is to be of.")
]


async def _engine(request: Request, label: _Label = None, version: _Version = None) -> Engine:
    engine = (await _service(request)).engine(label)
    served = engine.info.preprocess_version
    if version not in (None, served):
        raise UnknownModel(
            f"{engine.info.label} is served by preprocess version {served}, not {version}: run the same release of all "
            "services"
        )
    return engine


async def _decoder(request: Request) -> ImageDecoder:
    return cast("ImageDecoder", request.state.decoder)


async def _metrics(request: Request) -> Metrics:
    return cast("Metrics", request.app.state.metrics)


ServiceDep = Annotated[EmbedderService, Depends(_service)]
EngineDep = Annotated[Engine, Depends(_engine)]
DecoderDep = Annotated[ImageDecoder, Depends(_decoder)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
CallerDep = Annotated[Caller, Depends(read_caller(Priority.INTERACTIVE))]
BulkCallerDep = Annotated[Caller, Depends(read_caller(Priority.BULK))]
