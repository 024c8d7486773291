"""The Arq tasks: thin shells over the pipeline. A job carries ids alone; the rows say what is to be done."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from worker.pipeline import Pipeline

PIPELINE = "pipeline"
"""Where the tasks find the pipeline in Arq's context."""


async def process_images(context: dict[str, Any], ids: Sequence[str]) -> None:
    """Process the images of a hint, as far as they are due."""
    pipeline: Pipeline = context[PIPELINE]
    await pipeline.process_all(map(UUID, ids))
