"""What the embedder says of the live models: how each wants its images, and where it is asked for vectors."""

import asyncio
from collections.abc import Collection, Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from common.db.embedding_models import label
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient, ModelClient
from common.embedding import ModelInfo
from common.errors import ConfigurationError, UnknownModel
from common.imaging import PREPROCESS_VERSION, Preprocess

log = structlog.get_logger(__name__)

_ASK_AGAIN_S = 10.0

Pixels = NDArray[np.uint8]
Vector = NDArray[np.float32]


class ServedModels:
    """The models of one embedder. What it serves is asked when a model comes up that it was not known to serve."""

    def __init__(self, embedder: EmbedderClient) -> None:
        self._embedder = embedder
        self._infos: dict[str, ModelInfo] = {}
        self._ask_at = 0.0
        self._asking = asyncio.Lock()

    async def preprocess(self, model: EmbeddingModel) -> Preprocess:
        """Return how a model wants its images.

        Raises:
            EmbedderUnavailable: there is no answer.
            UnknownModel: the embedder does not serve it, or otherwise than it is known here.
        """
        return Preprocess(**(await self.find(model)).preprocess.model_dump())

    async def find(self, model: EmbeddingModel) -> ModelInfo:
        """Return what the embedder says of a model; raises as `preprocess`."""
        name = label(model)
        if not _fits(self._infos.get(name), model):
            await self._ask()
        info = self._infos.get(name)
        if info is None:
            raise UnknownModel(_not_served(name, self._infos))
        if not _fits(info, model):
            raise UnknownModel(_other_version(name))
        return info

    async def ask_for(self, wanted: str) -> ModelInfo:
        """Return what the embedder says now of the model with this label.

        Raises:
            EmbedderUnavailable: there is no answer.
            ConfigurationError: it does not serve it, or for another version of this service.
        """
        await self._ask(again=True)
        info = self._infos.get(wanted)
        if info is None:
            raise ConfigurationError(_not_served(wanted, self._infos), code=UnknownModel.default_code)
        if info.preprocess_version != PREPROCESS_VERSION:
            raise ConfigurationError(_other_version(wanted), code=UnknownModel.default_code)
        return info

    async def encode(self, model: EmbeddingModel, images: Sequence[Pixels]) -> list[Vector]:
        """Return the vectors of images, each made as the model wants it."""
        return await self._client(model).encode_pixels(images)

    async def encode_texts(self, model: EmbeddingModel, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of texts."""
        return await self._client(model).encode_texts(texts)

    def _client(self, model: EmbeddingModel) -> ModelClient:
        return self._embedder.serving(label(model), model.preprocess_version)

    async def _ask(self, *, again: bool = False) -> None:
        """Ask, but not `again` within seconds: a model that isn't served would have every image ask."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if again or now >= self._ask_at:
                # Of embedders of several releases, those of ours count, if there are any.
                served = sorted(await self._embedder.models(), key=_is_of_this_release)
                self._infos = {info.label: info for info in served}
                self._ask_at = now + _ASK_AGAIN_S


def _fits(info: ModelInfo | None, model: EmbeddingModel) -> bool:
    ours = (model.dim, model.preprocess_version, PREPROCESS_VERSION)
    return info is not None and ours == (info.dim, info.preprocess_version, info.preprocess_version)


def _is_of_this_release(info: ModelInfo) -> bool:
    return info.preprocess_version == PREPROCESS_VERSION


def _not_served(name: str, served: Collection[str]) -> str:
    return f"the embedder does not serve {name}, only {', '.join(sorted(served))}: name it in EMBEDDER__ALSO"


def _other_version(name: str) -> str:
    return f"the embedder serves another version of {name}: run the same release of both"
