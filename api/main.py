"""The api service: the app and the process around it. Run it as `python -m api.main`; settings say all it needs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from api.documentation import add_documentation
from api.errors import add_error_handlers
from api.lifespan import ApiState, open_state
from api.middleware import RequestContext
from api.routers import content, duplicates, health, images, imports, search, uploads
from api.settings import ApiSettings
from api.starting import PlainStart
from common import tracing
from common.arguments import take_none
from common.draining import CloseConnections, Drain, serve
from common.log import configure_logging
from common.readiness import Probe
from common.starting import ending_plainly
from common.vectors.base import VectorIndex

_WEB = Path(__file__).parent / "web"
_SHUTDOWN_S = 20

_DESCRIPTION = """
Takes in images and finds the ones that look alike, or that a sentence describes.

Upload with `POST /images/upload`, poll with `POST /images/status` until `done`, then ask for
`GET /images/{id}/similar` or `GET /search/text`. Errors are RFC 9457 problems with a stable `code`.
"""

# Asked for anew each time (cheap, by ETag): after an upgrade no browser mixes old modules with new ones.
_FRESH = {"Cache-Control": "no-cache"}
_PAGE_HEADERS = {
    **_FRESH,
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


class _WebFiles(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Have the page's parts checked for changes."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_FRESH)
        return response


def create_app(
    settings: ApiSettings,
    *,
    vectors: VectorIndex | None = None,
    neighbours: Sequence[Probe] = (),
    drain: Drain | None = None,
) -> FastAPI:
    """Build the app.

    Args:
        settings: of this service.
        vectors: an index that is open already, see `open_state`.
        neighbours: what shares the process, see `open_state`.
        drain: whether its server is about to stop; None: it never says so.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ApiState]:
        async with open_state(settings, vectors, neighbours) as state:
            yield state

    app = FastAPI(
        title="Likeness",
        version="0.1.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_tags=[{"name": name} for name in ("images", "search", "duplicates", "health")],
        docs_url=None,
        redoc_url=None,
    )
    app.state.drain = drain or Drain()
    app.add_middleware(RequestContext)
    app.add_middleware(CloseConnections, drain=app.state.drain)
    app.add_middleware(PlainStart)
    add_error_handlers(app)
    app.router.routes += search.direct.routes  # first, as routes are tried in turn, and these are asked most
    for part in (uploads, imports, search, duplicates, content, images, health):
        app.include_router(part.router)
    add_documentation(app)

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(_WEB / "index.html", headers=_PAGE_HEADERS)

    app.mount("/web", _WebFiles(directory=_WEB), name="web")
    return app


def main() -> None:
    """Serve until told to stop."""
    with ending_plainly():
        settings = ApiSettings()
    configure_logging(settings.log)
    drain = Drain()
    with tracing.started(settings.tracing, "likeness-api"):
        serve(
            create_app(settings, drain=drain),
            drain,
            settings.http.drain_s,
            host=settings.http.host,
            port=settings.http.port,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )


if __name__ == "__main__":
    take_none("api.main", __doc__)
    main()
