"""The embedder's application around a fake model, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from common.draining import Drain
from common.embedder_client import EmbedderClient
from common.settings import EmbedderClientSettings, ImagePolicy
from embedder.main import create_app
from embedder.served import LoadModel
from embedder.settings import EmbedderSettings, Settings
from tests.fakes.clip_model import FakeClipModel


@dataclass
class Served:
    """A running application and two ways to talk to it."""

    http: httpx.AsyncClient
    client: EmbedderClient
    drain: Drain

    async def wait_for(self, status: str) -> None:
        while (await self.client.ready()).status != status:  # noqa: ASYNC110 - what is waited for is what an outsider sees
            await asyncio.sleep(0.005)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def model() -> FakeClipModel:
    return FakeClipModel()


@pytest.fixture
def serve(model: FakeClipModel) -> Serve:
    @asynccontextmanager
    async def serve(
        load: LoadModel = lambda _settings, _observe: model, upload: ImagePolicy | None = None, **embedder: object
    ) -> AsyncIterator[Served]:
        settings = Settings(
            embedder=EmbedderSettings.model_validate(embedder), upload=upload or ImagePolicy(max_file_bytes=50_000)
        )
        drain = Drain()
        app = create_app(settings, load, drain)
        async with app.router.lifespan_context(app) as state:
            transport = httpx.ASGITransport(_with_state(app, dict(state or {})), raise_app_exceptions=False)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://embedder") as http,
                EmbedderClient(EmbedderClientSettings(url="http://embedder"), transport=transport) as client,
            ):
                try:
                    yield Served(http, client, drain)
                finally:
                    model.gate.set()

    return serve


@pytest.fixture
async def served(serve: Serve) -> AsyncIterator[Served]:
    async with serve() as running:
        await running.wait_for("ready")
        yield running


def _with_state(app: ASGIApp, state: dict[str, object]) -> ASGIApp:
    """Hand requests the lifespan's state, as a server does; httpx's transport knows no lifespan."""

    async def stateful(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return stateful
