"""`/ready`, in one shape for every service: whether it serves, and each dependency's state."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Self

from pydantic import BaseModel
from starlette.responses import JSONResponse

from common.breakers import Breaker, BreakerState
from common.db.embedding_models import label, list_live
from common.db.engine import Database
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import InfrastructureError, LikenessError

_DEADLINE_S = 3.0


class Dependency(BaseModel):
    """A store or service that another one needs."""

    name: str
    ok: bool
    needed: bool = True
    """Whether nothing can be served without it."""
    detail: str = ""
    breaker: BreakerState | None = None
    """How its circuit breaker stands; null where there is none."""


Probe = Callable[[], Awaitable[Dependency]]


class Ready(BaseModel):
    """Whether requests can be served, dependency by dependency."""

    ready: bool
    dependencies: list[Dependency]
    model: str | None = None
    """Of the api, the active model; of a worker, and while the api can't say, the embedder's default one."""
    building: list[str] = []
    """The models that are kept up to date beside it, and not searched."""
    demo: bool = False

    @classmethod
    def of(cls, dependencies: Sequence[Dependency], model: ModelInfo | None, live: Sequence[str] = ()) -> Self:
        """Draw the conclusion.

        Args:
            dependencies: all there are.
            model: what the embedder says it serves by default.
            live: labels of the live models, as `find_live_models` returns them; none: it was not asked.
        """
        served = model.label if model else None
        return cls(
            ready=all(dependency.ok for dependency in dependencies if dependency.needed),
            dependencies=list(dependencies),
            model=live[0] if live else served,
            building=list(live[1:]),
            demo=bool(model and model.demo),
        )

    def response(self) -> JSONResponse:
        """Answer 200 or 503."""
        return JSONResponse(
            self.model_dump(mode="json"), HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE
        )


async def probe(
    name: str, ping: Callable[[], Awaitable[None]], breaker: Breaker | None = None, *, needed: bool = True
) -> Dependency:
    """Ask a dependency, within a few seconds; while its breaker is open, that is answer enough."""
    try:
        if breaker is not None:
            breaker.check()
        async with asyncio.timeout(_DEADLINE_S):
            await ping()
    except (LikenessError, TimeoutError) as error:
        detail = str(error) or "no answer in time"
    else:
        detail = ""
    state = None if breaker is None else breaker.state
    return Dependency(name=name, ok=not detail, needed=needed, detail=detail, breaker=state)


async def find_live_models(database: Database) -> list[str]:
    """Return the labels of the live models, the active one first; none while the database can't say."""
    try:
        async with asyncio.timeout(_DEADLINE_S), database.begin() as session:
            return [label(model) for model in await list_live(session)]
    except (InfrastructureError, TimeoutError):
        return []  # which is told as the database's state


async def probe_embedder(embedder: EmbedderClient, breaker: Breaker) -> tuple[Dependency, ModelInfo | None]:
    """Ask the embedder; answer the model it serves as well."""
    readiness = await embedder.ready()
    back = readiness.ok and not breaker.closed
    detail = f"{readiness.detail}; not asked yet after a failure" if back else readiness.detail
    ok = readiness.ok and breaker.closed
    return Dependency(name=breaker.name, ok=ok, detail=detail, breaker=breaker.state), readiness.model
