"""`likeness status`: the whole service at a glance."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from common.db import embedding_models, model_overview, overview
from common.db.model_overview import ModelOverview
from common.db.models import EmbeddingModel
from common.db.overview import Overview
from common.errors import QueueUnavailable
from common.status import ImageStatus
from worker.cli.console import out, print_json, table
from worker.cli.exits import Exit, plain_errors
from worker.cli.models import as_data
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import Queue, look_into_queue, open_database
from worker.heartbeat import WorkerState


@dataclass(frozen=True, slots=True)
class Status:
    """What the command found."""

    images: Overview
    model: EmbeddingModel | None
    building: list[ModelOverview]
    revision: str | None
    queue: Queue | None
    """What Redis knows; None: it can't be reached."""
    queue_error: str | None

    @property
    def troubled(self) -> bool:
        """Whether somebody should look: images were given up, workers died or hang, or find something to be down."""
        workers = self.queue.workers if self.queue else []
        return (
            self.images.counts[ImageStatus.ERROR] > 0
            or self.images.expired_leases > 0
            or any(worker.open for worker in workers)
        )


@plain_errors()
def status(
    as_json: Json = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 when images are in error, leases have run out or breakers are open."),
    ] = False,
) -> None:
    """Show images per state, the queue, the workers, what waits too long, expired leases and the models."""
    found = asyncio.run(_take(read_settings()))
    if as_json:
        print_json(_as_data(found))
    else:
        _show(found)
    if check and found.troubled:
        raise typer.Exit(Exit.FOUND)


async def _take(settings: CliSettings) -> Status:
    async with open_database(settings.database) as database, database.begin() as session:
        images = await overview.take(session)
        model = await embedding_models.find_active(session)
        building = [each for each in await model_overview.take(session) if each.model.state == "building"]
        revision = await overview.find_revision(session)
    try:
        return Status(images, model, building, revision, await look_into_queue(settings.redis), None)
    except QueueUnavailable as error:
        return Status(images, model, building, revision, None, str(error))


def _as_data(found: Status) -> dict[str, object]:
    model = found.model
    return {
        **asdict(found.images),
        "queue": {
            "reachable": found.queue is not None,
            "depth": found.queue and found.queue.depth,
            "error": found.queue_error,
        },
        "workers": found.queue
        and [{"name": worker.name, "breakers": worker.breakers} for worker in found.queue.workers],
        "model": model
        and {
            "label": embedding_models.label(model),
            "name": model.name,
            "pretrained": model.pretrained,
            "dim": model.dim,
            "preprocess_version": model.preprocess_version,
            "collection": model.collection,
        },
        "building": [as_data(each) for each in found.building],
        "revision": found.revision,
    }


def _show(found: Status) -> None:
    images = table("state", "images")
    images.columns[1].justify = "right"
    for state, count in found.images.counts.items():
        images.add_row(state, f"{count:,}", style="red" if state is ImageStatus.ERROR and count else None)
    images.add_section()
    images.add_row("all", f"{sum(found.images.counts.values()):,}")
    out.print(images)
    waiting = found.images.oldest_pending_s
    unknown = f"unknown; {found.queue_error}"
    model = found.model
    facts = {
        "oldest pending": "none waits" if waiting is None else f"{duration(waiting)} overdue",
        "expired leases": f"{found.images.expired_leases:,}",
        "queue": f"{found.queue.depth:,} jobs" if found.queue else unknown,
        "workers": say_workers(found.queue.workers) if found.queue else unknown,
        "model": "none yet" if model is None else f"{embedding_models.label(model)}, {model.dim} dimensions",
        "revision": found.revision or "none",
    }
    building = (("building", f"{each.label}, {each.missing:,} images missing") for each in found.building)
    for name, fact in (*facts.items(), *building):
        out.print(f"{name:>15}  {fact}", soft_wrap=True)


def say_workers(workers: Sequence[WorkerState]) -> str:
    """Say how many live, and what each of them takes to be down."""
    down = [f"{worker.name} waits for {' and '.join(worker.open)}" for worker in workers if worker.open]
    return "; ".join([f"{len(workers)} alive" if workers else "none alive", *down])


def duration(seconds: float) -> str:
    """Say a time span in its two largest units: "2 d 3 h", "14 s"."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2])
