"""One audit from its first page to its report."""

import secrets
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from pydantic import BaseModel, Field

from common.db import embedding_models, inventory
from common.db.engine import Database
from common.db.images import GRACE
from common.db.inventory import Entry
from common.db.models import EmbeddingModel
from common.db.operations import AUDIT, NewOperation, OperationClaim
from common.errors import ConfigurationError
from common.metrics import begin_at_zero
from common.storage import ORIGINALS, THUMBNAILS, ListedObject, ObjectStore, object_key, thumbnail_key
from common.vectors.base import Collection, VectorIndex
from worker.audit.images import AuditedModel, Finding, ImageCheck
from worker.audit.objects import ObjectCheck
from worker.audit.points import PointCheck
from worker.audit.repair import Repair
from worker.audit.report import Checked, Mismatch, Report
from worker.audit.schedule import BY_ITSELF, SAMPLE_FOUND
from worker.audit.walk import walk
from worker.metrics import AUDIT_CHECKED, AUDITS, LAST_AUDIT, MISMATCHES
from worker.operations import Outcome, Progress

log = structlog.get_logger(__name__)


class AuditParams(BaseModel):
    """What an audit is to do: mend or only tell, everything or a sample of about so many images."""

    fix: bool = False
    sample: int | None = Field(default=None, ge=1)


class Audits:
    """Does operations of the kind `audit`; see `worker.operations`."""

    kind = AUDIT

    def __init__(
        self, database: Database, storage: ObjectStore, vectors: VectorIndex, *, grace: timedelta = GRACE
    ) -> None:
        """Create the audits of one worker; `grace` is for how long what is not `done` is left alone after a change."""
        self._database = database
        self._storage = storage
        self._vectors = vectors
        self._grace = grace

    async def run(self, claim: OperationClaim, progress: Progress) -> Outcome:
        """Audit; where a sample that a worker took by itself finds missing or wrong vectors, a full one follows."""
        params = AuditParams.model_validate(claim.params)
        audit = _Audit(self._database, self._storage, self._vectors, params, progress, self._grace)
        report = await audit.run()
        _count(claim.origin, report)
        counts = {str(kind): tally.count for kind, tally in report.mismatches.items()}
        log.info("audit_done", origin=claim.origin, found=report.found, left=report.left, mismatches=counts)
        bad = report.count(Mismatch.VECTOR_MISSING) + report.count(Mismatch.VECTOR_WRONG)
        by_itself = claim.origin in BY_ITSELF and params.sample is not None
        follow_up = NewOperation(AUDIT, SAMPLE_FOUND, {"fix": True}) if by_itself and bad else None
        return Outcome(report.model_dump(mode="json"), follow_up)


class _Audit:
    def __init__(
        self,
        database: Database,
        storage: ObjectStore,
        vectors: VectorIndex,
        params: AuditParams,
        progress: Progress,
        grace: timedelta,
    ) -> None:
        self._database = database
        self._storage = storage
        self._vectors = vectors
        self._params = params
        self._progress = progress
        self._grace = grace
        self._report = Report(fix=params.fix, sample=params.sample)
        self._total = 0
        self._checked_again = 0

    async def run(self) -> Report:
        """Walk over rows, objects and points; what is mended is counted as found, too."""
        async with self._database.begin() as session:
            rows = await embedding_models.list_live(session)
            images = await inventory.count_images(session)
        models = [AuditedModel(row, await self._open(row)) for row in rows]
        fit = [model.collection for model in models if model.collection is not None]
        # An original and a thumbnail for each image: about, as the same bytes are stored once.
        walks = [images] * (2 + max(1, len(models)))
        sizes = [*walks, *[await self._vectors.count(collection) for collection in fit]]
        self._total = sum(size if self._params.sample is None else min(size, self._params.sample) for size in sizes)

        for model in (*models, None)[: max(1, len(models))]:
            await self._audit_images(model)
        for prefix, make_key in ((ORIGINALS, object_key), (THUMBNAILS, thumbnail_key)):
            await self._audit_objects(prefix, start=self._sampled(make_key(_random_hash())))
        for collection in fit:
            await self._audit_points(collection)
        return self._report

    async def _open(self, model: EmbeddingModel) -> Collection | None:
        """Make sure of a model's collection; one that is lost is created, and all its vectors are found missing."""
        collection = Collection(model.collection, model.dim)
        try:
            await self._vectors.ensure(collection)
        except ConfigurationError as error:
            self._report.add(Mismatch.COLLECTION_UNFIT, model.collection, str(error))
            return None
        return collection

    async def _audit_images(self, model: AuditedModel | None) -> None:
        """Walk over the rows with the active model, or none; and with each other one over those in its collection."""
        first = model is None or model.active
        check = ImageCheck(self._database, self._storage, self._vectors, model)
        repair = Repair(self._database, self._storage, self._vectors, model) if model and self._params.fix else None
        read = partial(self._read_rows, None if model is None else model.row.id, not first)
        start = self._sampled((_random_hash(), UUID(int=0)))
        async for page in walk(read, lambda entry: entry.position, start=start, limit=self._params.sample):
            findings = await check.check(page)
            mended = await repair.repair(findings) if repair and findings else {}
            for finding in findings:
                where = None if first or model is None else f"in {model.row.collection}"
                self._note(finding, mended.get(finding.image.id, frozenset()), where)
            if first:
                self._report.checked.images += len(page)
                self._report.in_motion += sum(not entry.settled for entry in page)
            else:
                self._checked_again += len(page)
            await self._advance()

    async def _read_rows(
        self, model_id: int | None, indexed: bool, after: inventory.Position | None, limit: int
    ) -> list[Entry]:
        async with self._database.begin() as session:
            return await inventory.read_page(
                session, model_id, after=after, limit=limit, grace=self._grace, indexed=indexed
            )

    def _note(self, finding: Finding, mended: frozenset[Mismatch], where: str | None) -> None:
        image = finding.image
        for problem in sorted(finding.problems):
            detail = where
            if problem is Mismatch.OBJECT_MISSING:
                detail = f"{image.object_key}, uploaded as {image.filename!r}"
            elif problem is Mismatch.OBJECT_WRONG_SIZE:
                sizes = f"{finding.size_found} bytes instead of {image.byte_size}"
                detail = f"{image.object_key}, uploaded as {image.filename!r}, has {sizes}"
            self._report.add(problem, image.id, detail, fixed=problem in mended)

    async def _audit_objects(self, prefix: str, start: str | None) -> None:
        check = ObjectCheck(self._database)

        async def read(after: str | None, limit: int) -> list[ListedObject]:
            return await self._storage.list_objects(prefix, after=after or "", limit=limit)

        async for page in walk(read, lambda item: item.key, start=start, limit=self._params.sample):
            for key in await check.check(page):
                self._report.add(Mismatch.OBJECT_ORPHANED, key, fixed=self._params.fix)
            self._report.checked.objects += len(page)
            await self._advance()

    async def _audit_points(self, collection: Collection) -> None:
        check = PointCheck(self._database, self._vectors)

        async def read(after: UUID | None, limit: int) -> list[UUID]:
            return await self._vectors.scroll(collection, after=after, limit=limit)

        start = self._sampled(UUID(bytes=secrets.token_bytes(16)))
        async for page in walk(read, lambda id_: id_, start=start, limit=self._params.sample):
            orphans = await check.check(page)
            if orphans and self._params.fix:
                await check.remove(collection, orphans)
            for id_ in orphans:
                self._report.add(Mismatch.VECTOR_ORPHANED, id_, f"in {collection.name}", fixed=self._params.fix)
            self._report.checked.points += len(page)
            await self._advance()

    def _sampled(self, start: Any) -> Any:
        """Return where a walk begins: at random for a sample, else at the beginning."""
        return None if self._params.sample is None else start

    async def _advance(self) -> None:
        checked = self._report.checked
        done = checked.images + self._checked_again + checked.objects + checked.points
        await self._progress.advance(done, self._total)


begin_at_zero(AUDITS, BY_ITSELF)
begin_at_zero(AUDIT_CHECKED, Checked.model_fields)
begin_at_zero(MISMATCHES, Mismatch, ("yes", "no"))


def _count(origin: str, report: Report) -> None:
    AUDITS.labels(origin).inc()
    for what, number in report.checked.model_dump().items():
        AUDIT_CHECKED.labels(what).inc(number)
    for kind, tally in report.mismatches.items():
        MISMATCHES.labels(kind, "yes").inc(tally.fixed)
        MISMATCHES.labels(kind, "no").inc(tally.count - tally.fixed)
    LAST_AUDIT.set_to_current_time()


def _random_hash() -> str:
    return secrets.token_hex(32)
