"""The fill: every image that is `done` gets into a model's collection, while searches go on with another one."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from pydantic import BaseModel

from common.batcher import blaming_one
from common.db import embeddings, indexings, inventory, model_lifecycle, operations
from common.db.embedding_models import label
from common.db.engine import Database
from common.db.model_lock import hold_models
from common.db.models import EmbeddingModel, Image
from common.db.operations import REEMBED, OperationClaim
from common.errors import LikenessError, OwnershipLost, VectorIndexRefused
from common.payloads import payload_of
from common.status import ImageStatus
from common.vectors.base import Collection, Point, VectorIndex
from worker.operations import Outcome, Progress
from worker.reembed.embedding import Embedding, Vector
from worker.reembed.report import BadImage, ReembedReport
from worker.served import ServedModels

log = structlog.get_logger(__name__)

_PAGE = 64


class ReembedParams(BaseModel):
    """Which model's collection is to be filled, by its label."""

    model: str


class Reembeds:
    """Does operations of the kind `reembed`; see `worker.operations`."""

    kind = REEMBED

    def __init__(self, database: Database, vectors: VectorIndex, served: ServedModels, embedding: Embedding) -> None:
        self._database = database
        self._vectors = vectors
        self._served = served
        self._embedding = embedding

    async def run(self, claim: OperationClaim, progress: Progress) -> Outcome:
        """Fill until no image is missing, or those that are can't be had.

        Raises:
            ConfigurationError: no model of this label is live, and the embedder serves none.
            InfrastructureError: something is down, or the embedder does not serve the live model at present.
        """
        model = await self._settle_model(claim)
        await self._vectors.ensure(_collection(model))
        report = ReembedReport(model=label(model))
        while True:
            added = await self._fill_once(model, progress, report)
            async with self._database.begin() as session:
                filled = await model_lifecycle.mark_filled(session, model.id)
                report.left = 0 if filled else await indexings.count_missing(session, model.id)
            if filled or not added:
                break
        log.info("reembed_done", model=report.model, added=report.added, failed=report.failed, left=report.left)
        return Outcome(report.model_dump(mode="json"))

    async def _settle_model(self, claim: OperationClaim) -> EmbeddingModel:
        """Return the live model that is asked for; the first time it becomes one here, and all workers write to it."""
        wanted = ReembedParams.model_validate(claim.params).model
        async with self._database.begin() as session:
            model = await model_lifecycle.find_live(session, wanted)
        if model is None:
            info = await self._served.ask_for(wanted)
            async with self._database.begin() as session:
                model = await model_lifecycle.register(session, info)
                # Given up meanwhile, with a model that was retired: it must not come back.
                if not await operations.renew(session, claim):
                    raise OwnershipLost(f"operation {claim.id}, attempt {claim.attempt}")
            log.info("model_registered", model=wanted, collection=model.collection)
        await self._served.find(model)
        return model

    async def _fill_once(self, model: EmbeddingModel, progress: Progress, report: ReembedReport) -> int:
        """Walk over what is missing; return how many are not any more."""
        async with self._database.begin() as session:
            total = await indexings.count_done(session)
            done = total - await indexings.count_missing(session, model.id)
        report.begin_pass()
        added_before, after = report.added, None
        while True:
            async with self._database.begin() as session:
                page = await indexings.find_missing(session, model.id, after=after, limit=_PAGE)
            if not page:
                return report.added - added_before
            added, bad = await self._fill_page(model, page)
            report.add(len(added), bad)
            done += len(page)
            await progress.advance(done, total)
            after = page[-1].id

    async def _fill_page(self, model: EmbeddingModel, page: Sequence[Image]) -> tuple[set[UUID], list[BadImage]]:
        vectors = await self._embedding.embed(model, page)
        # Embedding takes its time. What is written is of the rows as they are now, and those that are gone stay so.
        async with self._database.begin() as session:
            now = await inventory.load(session, [image.id for image in page])
        bad: list[BadImage] = []
        images: list[Image] = []
        points: list[Point] = []
        for image in (image for image in now.values() if image.status == ImageStatus.DONE):
            match vectors[image.sha256]:
                case LikenessError() as error:
                    bad.append(_report(image, error))
                case vector:
                    images.append(image)
                    points.append(Point(image.id, vector, payload_of(image)))
        outcomes = await blaming_one(partial(self._upsert, model), VectorIndexRefused)(points)
        written: dict[Image, Vector] = {}
        for image, point, outcome in zip(images, points, outcomes, strict=True):
            if isinstance(outcome, VectorIndexRefused):
                bad.append(_report(image, outcome))
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                written[image] = point.vector
        return await self._note(model, written), bad

    async def _upsert(self, model: EmbeddingModel, points: Sequence[Point]) -> list[None]:
        await self._vectors.upsert(_collection(model), points)
        return [None] * len(points)

    async def _note(self, model: EmbeddingModel, written: dict[Image, Vector]) -> set[UUID]:
        """Note which points are there; take back those of images that were deleted before they had one."""
        async with self._database.begin() as session:
            await hold_models(session)
            added = await indexings.add(session, model.id, list(written))
            vectors = {image.sha256: vector for image, vector in written.items() if image.id in added}
            await embeddings.save(session, model.id, vectors)
            left = await inventory.load(session, [image.id for image in written])
        await self._vectors.delete(_collection(model), [image.id for image in written if image.id not in left])
        return added


def _collection(model: EmbeddingModel) -> Collection:
    return Collection(model.collection, model.dim)


def _report(image: Image, error: LikenessError) -> BadImage:
    log.warning("reembed_failed", image_id=str(image.id), code=error.code, error=str(error))
    return BadImage(id=str(image.id), code=error.code, detail=str(error))
