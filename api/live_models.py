"""The models that are live, remembered from one search to the next, so that none has to ask for them first."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from common.active_model import agree_on_model
from common.db import embedding_models, reads
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.db.reads import LiveModels
from common.embedder_client import EmbedderClient
from common.errors import ConfigurationError, DatabaseUnavailable, InfrastructureError, LikenessError
from common.vectors.base import Collection, VectorIndex

Answer = TypeVar("Answer")
Search = Callable[[Sequence[EmbeddingModel]], Awaitable[tuple[Answer, str]]]
"""Searches with the live models, the active one first; returns their version in the database after that as well."""

log = structlog.get_logger(__name__)


def collection_of(model: EmbeddingModel) -> Collection:
    """Return where a model's vectors are."""
    return Collection(model.collection, model.dim)


class RememberedModels:
    """What the search before has read of the live models; one per process.

    It may be out of date: a model was promoted, retired or calibrated meanwhile, by another process. So a search reads
    their rows' version along with the images that it shows, and is repeated where that is another one.
    """

    def __init__(self, database: Database, vectors: VectorIndex, embedder: EmbedderClient) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder
        self._known: LiveModels | None = None

    async def answer(self, search: Search[Answer], *, settle: bool) -> Answer:
        """Have a search done with the models that are live at its end; what it raises is raised with these, too.

        Where there is no model yet, to `settle` makes the embedder's the active one. All live models' collections are
        known to the index by then, but those of models on trial whose collections can't be had.
        """
        live = self._known or await self._read(settle=settle)
        while True:
            failed: LikenessError | None = None
            try:
                answer, version = await search(live.models)
                if version == live.version:
                    return answer
            except DatabaseUnavailable:
                raise  # to ask it once more would take as long again
            except LikenessError as error:
                failed = error
            now = await self._read(settle=settle)
            if failed is not None and now.version == live.version:
                raise failed
            live = now

    async def _read(self, *, settle: bool) -> LiveModels:
        live = await reads.find_live(self._database)
        if not live.models and settle:
            await agree_on_model(self._database, self._embedder)
            live = await reads.find_live(self._database)
        for model in live.models:
            await self._open(model)
        self._known = live if live.models else None
        return live

    async def _open(self, model: EmbeddingModel) -> None:
        """Make a collection known, here and nowhere else: a retired model's would be made anew."""
        try:
            await self._vectors.ensure(collection_of(model))
        except (InfrastructureError, ConfigurationError) as error:
            if model.state == "active":
                raise
            label = embedding_models.label(model)
            log.warning("collection_not_open", model=label, code=error.code, error=str(error))
