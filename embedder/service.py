"""The service's life: loads its models while the server already answers probes, serves, and shuts down."""

import asyncio

import structlog

from common.embedding import Models, Readiness
from common.errors import EmbedderUnavailable, UnknownModel
from embedder.engine import Engine
from embedder.errors import NOT_READY
from embedder.metrics import Metrics
from embedder.served import LoadModel, ServedModel
from embedder.settings import EmbedderSettings
from embedder.thread import ModelThread

log = structlog.get_logger(__name__)

_STOP_S = 5.0


class EmbedderService:
    """Owns the models, the default one first, and the thread they all run on: there is one device."""

    def __init__(self, settings: EmbedderSettings, metrics: Metrics, load: LoadModel) -> None:
        """Create the service; `start` begins its work, with `load` on the models' thread."""
        self._thread = ModelThread()
        every = (settings, *(settings.of(choice) for choice in settings.also))
        self._models = [ServedModel(each, self._thread, metrics, load) for each in every]
        self._in_trouble = False
        metrics.watch_ready(lambda: not self._in_trouble and all(model.standing.ok for model in self._models))

    def start(self) -> None:
        """Begin to load the models, the default one first; returns at once."""
        for model in self._models:
            model.start()

    def engine(self, label: str | None = None) -> Engine:
        """Return the engine of the model with this label, of the default model where there is none.

        Raises:
            EmbedderUnavailable: the model is not there (yet).
            UnknownModel: there is no such model.
        """
        if label is None:
            return self._default()
        for engine in self._engines():
            if engine.info.label == label:
                return engine
        self._refuse_while_starting()
        labels = ", ".join(engine.info.label for engine in self._engines()) or "none"
        raise UnknownModel(f"the model {label!r} is not served here; served: {labels}")

    def list_models(self) -> Models:
        """List the models that are served, the default one first.

        Raises:
            EmbedderUnavailable: not all have been loaded, or the default one can't be.
        """
        self._refuse_while_starting()
        default = self._default().info
        # By label: a model that is named twice, by two words, is one.
        infos = {engine.info.label: engine.info for engine in self._engines()}
        return Models(default=default.label, models=list(infos.values()))

    async def check_ready(self) -> Readiness:
        """Say whether all models are served, or what is wrong with one."""
        states = await asyncio.gather(*(model.check_ready() for model in self._models))
        trouble = next(
            ((model, state) for model, state in zip(self._models, states, strict=True) if not state.ok), None
        )
        self._in_trouble = trouble is not None
        default = states[0].model
        if trouble is None:
            labels = dict.fromkeys(engine.info.label for engine in self._engines())
            return Readiness(status="ready", detail=f"serving {', '.join(labels)}", model=default)
        model, state = trouble
        detail = state.detail if model is self._models[0] else f"{model.choice}: {state.detail}"
        return Readiness(status=state.status, detail=detail, model=default)

    async def close(self) -> None:
        """Answer what waits, then end; a load or a pass that does not end by itself is left behind."""
        await asyncio.gather(*(model.stop_watching() for model in self._models))
        engines = self._engines()
        try:
            async with asyncio.timeout(_STOP_S):
                await asyncio.gather(*(engine.close() for engine in engines))
        except TimeoutError:
            log.warning("model_busy_at_shutdown")
        await asyncio.to_thread(self._thread.stop, _STOP_S if engines else 0)

    def _engines(self) -> list[Engine]:
        return [model.engine for model in self._models if model.engine is not None]

    def _default(self) -> Engine:
        default = self._models[0]
        if default.engine is None:
            raise EmbedderUnavailable(default.standing.detail, code=NOT_READY)
        return default.engine

    def _refuse_while_starting(self) -> None:
        """Not all labels are known yet: who would be told that a model is unknown might believe it."""
        if any(model.standing.status == "starting" for model in self._models):
            raise EmbedderUnavailable("not all models are loaded yet", code=NOT_READY)
