"""The removal of what a retired model leaves: its collection, the notes of what was in it, its cached vectors."""

from pydantic import BaseModel

from common.db import indexings
from common.db.engine import Database
from common.db.model_lock import hold_models
from common.db.models import EmbeddingModel
from common.db.operations import RETIRE, OperationClaim
from common.vectors.base import Collection, VectorIndex
from worker.operations import Outcome, Progress

_ROWS = 5000


class RetirementParams(BaseModel):
    """What is to be removed. The model may have a new collection by then, which is not meant."""

    model_id: int
    collection: str
    dim: int


class Retirements:
    """Does operations of the kind `retire`; see `worker.operations`. They begin when nobody is left who writes."""

    kind = RETIRE

    def __init__(self, database: Database, vectors: VectorIndex) -> None:
        self._database = database
        self._vectors = vectors

    async def run(self, claim: OperationClaim, progress: Progress) -> Outcome:
        """Remove it all, in steps."""
        params = RetirementParams.model_validate(claim.params)
        await self._vectors.drop(Collection(params.collection, params.dim))
        removed = 0
        while some := await self._remove_rows(params.model_id):
            removed += some
            await progress.advance(removed, removed)
        return Outcome({"collection": params.collection, "rows": removed})

    async def _remove_rows(self, model_id: int) -> int:
        async with self._database.begin() as session:
            await hold_models(session)
            model = await session.get(EmbeddingModel, model_id)
            if model is None or model.state != "retired":  # it is back, and the rows are of use again
                return 0
            return await indexings.forget_some(session, model_id, _ROWS)
