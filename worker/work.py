"""One image on its way through the stages, and what a stage is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from common.budget import Share
from common.db.attempts import Claim
from common.db.embedding_models import label
from common.db.models import EmbeddingModel
from worker.metrics import LEFT_BEHIND

log = structlog.get_logger(__name__)

_PATIENCE_S = 20.0


@dataclass(slots=True)
class Work:
    """What the stages of one attempt hand on. Each field is set by one stage and let go by the last that needs it."""

    claim: Claim
    models: Sequence[EmbeddingModel] = ()
    """The models that were live when the image was claimed, the active one first."""
    data: bytes | None = None
    """The image as it was uploaded; from `fetch` to `decode`."""
    memory: Share | None = None
    """What `data` takes of the bytes in flight; from `fetch` to `decode`."""
    pixels: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    """The models' input by their ids, (S, S, 3); from `decode` to `embed`."""
    thumbnail: bytes | None = None
    """WebP; from `decode` to `thumbnail`."""
    perceptual_hash: int | None = None
    """By which the picture is known again, if there is enough to see; from `decode` to `fingerprint`."""
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By model id, (D,), L2-normalised; from `embed` on, or from the start when these bytes were embedded before."""
    indexed: set[int] = field(default_factory=set)
    """The models whose collections have the point; from `index` on."""

    @property
    def active(self) -> EmbeddingModel:
        """The model whose vector the image needs to be `done`."""
        return self.models[0]

    @property
    def vector(self) -> NDArray[np.float32] | None:
        """The active model's vector."""
        return self.vectors.get(self.active.id) if self.models else None

    @property
    def embedded_before(self) -> bool:
        """Whether the active model's vector came with the claim: nothing needs to be fetched or decoded.

        Building models whose vectors did not are left to their fill.
        """
        return self.vector is not None and self.data is None

    async def for_each_model(self, step: Callable[[EmbeddingModel], Awaitable[None]]) -> None:
        """Do a step for all models at once. It must succeed with the active one; a fill makes up for the others."""
        active, *building = self.models
        outcomes = await asyncio.gather(
            step(active), *(_within_patience(step(model)) for model in building), return_exceptions=True
        )
        if isinstance(outcomes[0], BaseException):
            raise outcomes[0]
        for model, outcome in zip(building, outcomes[1:], strict=True):
            if isinstance(outcome, BaseException):
                LEFT_BEHIND.labels(label(model)).inc()
                log.warning("model_left_behind", model=label(model), error=str(outcome) or type(outcome).__name__)

    def let_data_go(self) -> None:
        """Forget the uploaded bytes, and let others have their memory."""
        self.data = None
        if self.memory is not None:
            self.memory.give_back()

    def close(self) -> None:
        """Let go of what a stage that failed still holds."""
        self.let_data_go()


async def _within_patience(step: Awaitable[None]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        await step


class Stage(Protocol):
    """One step of the pipeline. It raises a `common.errors` class when it fails, see `worker.retry`."""

    name: str

    async def run(self, work: Work) -> None:
        """Do the step for one image; many run at once, so I/O belongs behind a `Batcher`."""
