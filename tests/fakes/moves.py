"""The worker's moves without a database: rows are states in a dict, fences hold as in SQL."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.db.attempts import Claim, Failure, Fence, Release
from common.db.models import LOCAL_FOLDER_ID, LOCAL_OWNER_ID, TRIES, EmbeddingModel
from common.errors import OwnershipLost
from common.status import ImageStatus
from worker.moves import Moves
from worker.work import Work


def create_model(model_id: int, state: str = "building", dim: int = 2) -> EmbeddingModel:
    """Make a model that no database knows."""
    name = f"model-{model_id}"
    return EmbeddingModel(
        id=model_id, name=name, pretrained="x", dim=dim, preprocess_version=1, state=state, collection=name
    )


ACTIVE = create_model(1, "active")


def create_claim(image_id: UUID, *, attempt: int = 1, tries_left: int = TRIES - 1) -> Claim:
    """Make a claim on an image of the built-in owner."""
    return Claim(
        id=image_id,
        attempt=attempt,
        tries_left=tries_left,
        owner_id=LOCAL_OWNER_ID,
        folder_id=LOCAL_FOLDER_ID,
        sha256=image_id.hex * 2,
        object_key=f"sha256/{image_id.hex * 2}",
        media_type="image/png",
        byte_size=1,
        category=None,
        tags=[],
        attributes={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        payload_version=1,
    )


class FakeMoves(Moves):
    """Claims what is `pending`; remembers vectors, and every end an attempt came to.

    Set `down` to have every call fail with it, as when the database is away.
    """

    def __init__(self, pending: Iterable[UUID] = ()) -> None:
        self.status = dict.fromkeys(pending, ImageStatus.PENDING)
        self.tries_left = dict.fromkeys(self.status, TRIES)
        self.claimed: list[UUID] = []
        self.failures: list[Failure] = []
        self.releases: list[Release] = []
        self.vectors: dict[UUID, NDArray[np.float32]] = {}
        self.vectors_by_model: dict[UUID, dict[int, NDArray[np.float32]]] = {}
        self.models = [ACTIVE]
        self.demanded: int | None = None
        """The model without which nothing is `done`; None: no matter which."""
        self.down: Exception | None = None
        self.renewed: asyncio.Queue[list[Fence]] = asyncio.Queue()
        self._attempts: dict[UUID, int] = {}

    def take_over(self, image_id: UUID) -> None:
        """Let another worker claim the image: the fence of whoever has it is worth nothing from now on."""
        self._attempts[image_id] += 1

    def own(self, fence: Fence) -> Fence:
        """Have an image claimed by that fence."""
        self._attempts[fence.id] = fence.attempt
        self.status[fence.id] = ImageStatus.EMBEDDING
        return fence

    async def claim(self, image_id: UUID) -> Work | None:
        """Claim an image that is `pending`."""
        await self._answer()
        if self.status.get(image_id) != ImageStatus.PENDING:
            return None
        self.claimed.append(image_id)
        self.status[image_id] = ImageStatus.EMBEDDING
        self.tries_left[image_id] -= 1
        self._attempts[image_id] = self._attempts.get(image_id, 0) + 1
        claim = create_claim(image_id, attempt=self._attempts[image_id], tries_left=self.tries_left[image_id])
        return Work(claim, self.models)

    async def keep_vectors(self, claim: Claim, vectors: Mapping[int, NDArray[np.float32]]) -> None:
        """Move an image to `indexing`."""
        await self._move(claim.fence, ImageStatus.INDEXING)
        self.vectors[claim.id] = vectors[ACTIVE.id]
        self.vectors_by_model[claim.id] = dict(vectors)

    async def finish(self, claim: Claim, model_ids: Collection[int] = ()) -> bool:
        """Move an image to `done`, or back to `pending` if another model is active now."""
        done = self.demanded is None or self.demanded in model_ids
        await self._move(claim.fence, ImageStatus.DONE if done else ImageStatus.PENDING)
        return done

    async def fail(self, failure: Failure) -> None:
        """Move an image to `error`."""
        await self._move(failure.fence, ImageStatus.ERROR)
        self.failures.append(failure)

    async def release(self, release: Release) -> None:
        """Move an image back to `pending`."""
        await self._move(release.fence, ImageStatus.PENDING)
        self.tries_left[release.fence.id] += release.refund
        self.releases.append(release)

    async def renew(self, fences: Sequence[Fence]) -> set[UUID]:
        """Tell which images are still owned."""
        self.renewed.put_nowait(list(fences))
        await self._answer()
        return {fence.id for fence in fences if self._owns(fence)}

    async def close(self) -> None:
        """Nothing waits."""

    async def _move(self, fence: Fence, target: ImageStatus) -> None:
        await self._answer()
        if not self._owns(fence):
            raise OwnershipLost(f"image {fence.id}")
        self.status[fence.id] = target

    async def _answer(self) -> None:
        await asyncio.sleep(0)  # others run while a database is asked
        if self.down is not None:
            raise self.down

    def _owns(self, fence: Fence) -> bool:
        return self._attempts.get(fence.id) == fence.attempt
