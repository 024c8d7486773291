"""One model's life: loaded, tested, served, watched."""

import asyncio
from collections.abc import Callable

import structlog

from common.embedding import Readiness
from common.errors import ConfigurationError
from embedder.canary import Canary
from embedder.engine import Engine
from embedder.metrics import Metrics
from embedder.model import ClipModel, HubUnreachable, Kind, ObserveStep, Step
from embedder.reference import References, pictures
from embedder.selftest import check
from embedder.settings import EmbedderSettings, ModelChoice
from embedder.thread import ModelThread

log = structlog.get_logger(__name__)

LoadModel = Callable[[EmbedderSettings, ObserveStep], ClipModel]


class ServedModel:
    """A configured model; once it is loaded and has passed its self-test, its engine."""

    def __init__(self, settings: EmbedderSettings, thread: ModelThread, metrics: Metrics, load: LoadModel) -> None:
        """Create it; `start` begins its work, with `load` on the thread that all models share."""
        self.choice: ModelChoice = settings.choice
        self.engine: Engine | None = None
        self.standing = Readiness(status="starting", detail="the model is loading")
        self._settings = settings
        self._thread = thread
        self._metrics = metrics
        self._load_model = load
        self._loading: asyncio.Task[None] | None = None
        self._canary: Canary | None = None

    def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._loading = asyncio.create_task(self._load())

    async def check_ready(self) -> Readiness:
        """Say whether the model is served, or what is wrong."""
        if self._canary is not None and (trouble := await self._canary.find_trouble()):
            return Readiness(status="failed", detail=trouble, model=self.standing.model)
        return self.standing

    async def stop_watching(self) -> None:
        """End the load or the check that is under way; what is queued is left to the engine."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._canary is not None:
            await self._canary.close()

    async def _load(self) -> None:
        """Load the model; while the hub is out of reach, try again from time to time."""
        while True:
            try:
                # One call: else the test of the first model would wait until all others are loaded.
                model, references = await self._thread.run(self._load_and_check)
            except HubUnreachable as error:
                log.error("hub_unreachable", reason=str(error), retry_s=self._settings.retry_s)  # noqa: TRY400
                self.standing = Readiness(status="failed", detail=str(error))
                await asyncio.sleep(self._settings.retry_s)
            except ConfigurationError as error:
                log.error("model_refused", reason=str(error), code=error.code)  # noqa: TRY400 - the reason says it all
                self.standing = Readiness(status="failed", detail=str(error))
                return
            except Exception as error:
                log.exception("model_failed")
                self.standing = Readiness(status="failed", detail=f"the model can't be loaded: {error}")
                return
            else:
                self._serve(model, references)
                return

    def _load_and_check(self) -> tuple[ClipModel, References]:
        model = self._load_model(self._settings, self._observe)
        return model, check(model)

    def _observe(self, kind: Kind, step: Step, seconds: float) -> None:
        """Note a step under the model's name; those before it serves, which warm it up, are no measure of it."""
        if self.engine is not None:
            self._metrics.step(self.engine.info.label, kind, step, seconds)

    def _serve(self, model: ClipModel, references: References) -> None:
        info = model.info
        self.engine = Engine(model, self._thread, self._metrics, self._settings)
        self._canary = Canary(
            self.engine,
            self._thread,
            picture=pictures(info.image_size)[0],
            expected=references.images[0],
            stall_s=self._settings.stall_s,
        )
        self.standing = Readiness(status="ready", detail=f"serving {info.label}", model=info)
        if info.demo:
            log.warning("demo_model", advice="it knows drawn shapes only; configure EMBEDDER__MODEL for real pictures")
        self._metrics.served(info)
        log.info("model_ready", model=info.label, device=info.device, precision=info.precision, dim=info.dim)
