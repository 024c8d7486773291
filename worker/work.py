"""One image on its way through the stages, and what a stage is."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.budget import Share
from common.db.lifecycle import Claim


@dataclass(slots=True)
class Work:
    """What the stages of one attempt hand on. Each field is set by one stage and let go by the last that needs it."""

    claim: Claim
    data: bytes | None = None
    """The image as it was uploaded; from `fetch` to `decode`."""
    memory: Share | None = None
    """What `data` takes of the bytes in flight; from `fetch` to `decode`."""
    pixels: NDArray[np.uint8] | None = None
    """The model's input, (S, S, 3); from `decode` to `embed`."""
    thumbnail: bytes | None = None
    """WebP; from `decode` to `thumbnail`."""
    perceptual_hash: int | None = None
    """By which the picture is known again, if there is enough to see; from `decode` to `fingerprint`."""
    vector: NDArray[np.float32] | None = None
    """(D,), L2-normalised; from `embed` on, or from the start when these bytes were embedded before."""

    @property
    def embedded_before(self) -> bool:
        """Whether the vector came with the claim: nothing needs to be fetched or decoded."""
        return self.vector is not None and self.data is None

    def let_data_go(self) -> None:
        """Forget the uploaded bytes, and let others have their memory."""
        self.data = None
        if self.memory is not None:
            self.memory.give_back()

    def close(self) -> None:
        """Let go of what a stage that failed still holds."""
        self.let_data_go()


class Stage(Protocol):
    """One step of the pipeline. It raises a `common.errors` class when it fails, see `worker.retry`."""

    name: str

    async def run(self, work: Work) -> None:
        """Do the step for one image; many run at once, so I/O belongs behind a `Batcher`."""
