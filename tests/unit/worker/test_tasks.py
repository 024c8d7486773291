"""The Arq task hands the ids of a hint to the pipeline, under the id and within the trace it came with."""

from collections.abc import Iterable
from uuid import UUID, uuid4

import pytest

from common import correlation, tracing
from tests.fixtures.tracing import context_of, kept_spans
from worker.tasks import PIPELINE, process_images


class RecordingPipeline:
    def __init__(self) -> None:
        self.processed: list[UUID] = []
        self.under: list[str | None] = []

    async def process_all(self, ids: Iterable[UUID]) -> None:
        self.processed.extend(ids)
        self.under.append(correlation.current())


async def test_a_hint_is_processed() -> None:
    pipeline, ids = RecordingPipeline(), [uuid4(), uuid4()]
    await process_images({PIPELINE: pipeline}, [str(id_) for id_ in ids])
    assert pipeline.processed == ids


async def test_under_the_id_it_carries() -> None:
    pipeline = RecordingPipeline()
    await process_images({PIPELINE: pipeline}, [], {"request_id": "r-1"})
    assert pipeline.under == ["r-1"]


@pytest.mark.parametrize("carried", [None, {}, {"request_id": "no such\nid"}, {"request_id": 7, "traceparent": 7}])
async def test_with_nothing_or_nonsense_it_gets_an_id_of_its_own(carried: dict[str, str] | None) -> None:
    pipeline = RecordingPipeline()
    await process_images({PIPELINE: pipeline}, [], carried)
    (under,) = pipeline.under
    assert correlation.accept(under)


async def test_its_span_goes_on_with_the_trace_it_carries() -> None:
    with kept_spans() as spans:
        with tracing.span("hint"):
            carried = tracing.carrier()
        await process_images({PIPELINE: RecordingPipeline()}, [], carried)
    task = spans.named("process_images")
    assert task.parent is not None
    assert task.parent.span_id == context_of(spans.named("hint")).span_id
