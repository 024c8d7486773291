"""The service's life: loads the model while the server already answers probes, serves, and shuts down."""

import asyncio
import functools
from collections.abc import Callable

import structlog

from common.embedding import Readiness
from common.errors import ConfigurationError, EmbedderUnavailable
from embedder.canary import Canary
from embedder.engine import Engine
from embedder.errors import NOT_READY
from embedder.metrics import Metrics
from embedder.model import ClipModel, HubUnreachable, ObserveStep
from embedder.reference import References, pictures
from embedder.selftest import check
from embedder.settings import EmbedderSettings
from embedder.thread import ModelThread

log = structlog.get_logger(__name__)

LoadModel = Callable[[EmbedderSettings, ObserveStep], ClipModel]

_STOP_S = 5.0


class EmbedderService:
    """Owns the model's thread and, once the model is loaded and has passed its self-test, the engine."""

    def __init__(self, settings: EmbedderSettings, metrics: Metrics, load: LoadModel) -> None:
        """Create the service; `start` begins its work, with `load` on the model's thread."""
        self._load_model = load
        self._settings = settings
        self._metrics = metrics
        self._thread = ModelThread()
        self._loading: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._canary: Canary | None = None
        self._standing = Readiness(status="starting", detail="the model is loading")

    @property
    def engine(self) -> Engine:
        """The engine.

        Raises:
            EmbedderUnavailable: the model is not there (yet).
        """
        if self._engine is None:
            raise EmbedderUnavailable(self._standing.detail, code=NOT_READY)
        return self._engine

    def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._loading = asyncio.create_task(self._load())

    async def check_ready(self) -> Readiness:
        """Say whether requests are served, or what is wrong."""
        readiness = self._standing
        if self._canary is not None and (trouble := await self._canary.find_trouble()):
            readiness = Readiness(status="failed", detail=trouble, model=readiness.model)
        self._metrics.ready(ready=readiness.ok)
        return readiness

    async def close(self) -> None:
        """Answer what waits, then end; a load or a pass that does not end by itself is left behind."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._canary is not None:
            await self._canary.close()
        try:
            async with asyncio.timeout(_STOP_S):
                if self._engine is not None:
                    await self._engine.close()
        except TimeoutError:
            log.warning("model_busy_at_shutdown")
        await asyncio.to_thread(self._thread.stop, _STOP_S if self._engine else 0)

    async def _load(self) -> None:
        """Load the model; while the hub is out of reach, try again from time to time."""
        while True:
            try:
                model = await self._thread.run(functools.partial(self._load_model, self._settings, self._metrics.step))
                references = await self._thread.run(functools.partial(check, model))
            except HubUnreachable as error:
                log.error("hub_unreachable", reason=str(error), retry_s=self._settings.retry_s)  # noqa: TRY400
                self._standing = Readiness(status="failed", detail=str(error))
                await asyncio.sleep(self._settings.retry_s)
            except ConfigurationError as error:
                log.error("model_refused", reason=str(error), code=error.code)  # noqa: TRY400 - the reason says it all
                self._standing = Readiness(status="failed", detail=str(error))
                return
            except Exception as error:
                log.exception("model_failed")
                self._standing = Readiness(status="failed", detail=f"the model can't be loaded: {error}")
                return
            else:
                self._serve(model, references)
                return

    def _serve(self, model: ClipModel, references: References) -> None:
        info = model.info
        self._engine = Engine(model, self._thread, self._metrics, self._settings)
        self._canary = Canary(
            self._engine,
            self._thread,
            picture=pictures(info.image_size)[0],
            expected=references.images[0],
            stall_s=self._settings.stall_s,
        )
        self._standing = Readiness(status="ready", detail=f"serving {info.label}", model=info)
        self._metrics.ready(ready=True)
        if info.demo:
            log.warning("demo_model", advice="it knows drawn shapes only; configure EMBEDDER__MODEL for real pictures")
        log.info("model_ready", model=info.label, device=info.device, precision=info.precision, dim=info.dim)
