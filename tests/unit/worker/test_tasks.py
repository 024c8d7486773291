"""The Arq task hands the ids of a hint to the pipeline."""

from collections.abc import Iterable
from uuid import UUID, uuid4

from worker.tasks import PIPELINE, process_images


class RecordingPipeline:
    def __init__(self) -> None:
        self.processed: list[UUID] = []

    async def process_all(self, ids: Iterable[UUID]) -> None:
        self.processed.extend(ids)


async def test_a_hint_is_processed() -> None:
    pipeline, ids = RecordingPipeline(), [uuid4(), uuid4()]
    await process_images({PIPELINE: pipeline}, [str(id_) for id_ in ids])
    assert pipeline.processed == ids
