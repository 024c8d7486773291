"""Opens and closes what the service owns."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from embedder.decoder import ImageDecoder
from embedder.dependencies import State
from embedder.metrics import Metrics
from embedder.served import LoadModel
from embedder.service import EmbedderService
from embedder.settings import Settings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[State]]


def create_lifespan(settings: Settings, metrics: Metrics, load: LoadModel) -> Lifespan:
    """Make the lifespan of an app with these settings; the model loads while the app already answers probes."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            decoder = ImageDecoder(
                settings.upload,
                threads=settings.embedder.decode_threads,
                max_pending=settings.embedder.max_pending,
                decoded=metrics.decoded,
            )
            stack.callback(decoder.close)
            service = EmbedderService(settings.embedder, metrics, load)
            stack.push_async_callback(service.close)
            service.start()
            yield State(service=service, decoder=decoder)

    return lifespan
