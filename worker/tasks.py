"""The Arq tasks: thin shells over the pipeline. A job carries ids alone; the rows say what is to be done."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from common import correlation, tracing
from worker.pipeline import Pipeline

PIPELINE = "pipeline"
"""Where the tasks find the pipeline in Arq's context."""


async def process_images(context: dict[str, Any], ids: Sequence[str], carried: Mapping[str, str] | None = None) -> None:
    """Process the images of a hint, as far as they are due; `carried` says of which request and trace it is part."""
    pipeline: Pipeline = context[PIPELINE]
    carried = carried or {}
    with (
        correlation.bound(correlation.accept(carried.get(correlation.FIELD))),
        tracing.resume(carried),
        tracing.span("process_images", "consumer", {tracing.BATCH_SIZE: len(ids)}),
    ):
        await pipeline.process_all(map(UUID, ids))
