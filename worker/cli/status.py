"""`likeness status`: the whole service at a glance."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from common.db import embedding_models, overview
from common.db.models import EmbeddingModel
from common.db.overview import Overview
from common.errors import QueueUnavailable
from common.status import ImageStatus
from worker.cli.console import out, print_json, table
from worker.cli.exits import Exit, plain_errors
from worker.cli.options import Json
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database, queue_depth


@dataclass(frozen=True, slots=True)
class Status:
    """What the command found."""

    images: Overview
    model: EmbeddingModel | None
    revision: str | None
    queue_depth: int | None
    """Jobs that wait in Redis; None: it can't be reached."""
    queue_error: str | None

    @property
    def troubled(self) -> bool:
        """Whether somebody should look: images were given up, or workers died or hang."""
        return self.images.counts[ImageStatus.ERROR] > 0 or self.images.expired_leases > 0


@plain_errors()
def status(
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 when images are in error or leases have run out.")
    ] = False,
) -> None:
    """Show images per state, the queue, what waits too long, expired leases and the active model."""
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
        revision = await overview.find_revision(session)
    try:
        return Status(images, model, revision, await queue_depth(settings.redis), None)
    except QueueUnavailable as error:
        return Status(images, model, revision, None, str(error))


def _as_data(found: Status) -> dict[str, object]:
    model = found.model
    return {
        **asdict(found.images),
        "queue": {"reachable": found.queue_depth is not None, "depth": found.queue_depth, "error": found.queue_error},
        "model": model
        and {
            "label": embedding_models.label(model),
            "name": model.name,
            "pretrained": model.pretrained,
            "dim": model.dim,
            "preprocess_version": model.preprocess_version,
            "collection": model.collection,
        },
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
    queue = f"{found.queue_depth:,} jobs" if found.queue_error is None else f"unknown; {found.queue_error}"
    model = found.model
    facts = {
        "oldest pending": "none waits" if waiting is None else f"{duration(waiting)} overdue",
        "expired leases": f"{found.images.expired_leases:,}",
        "queue": queue,
        "model": "none yet" if model is None else f"{embedding_models.label(model)}, {model.dim} dimensions",
        "revision": found.revision or "none",
    }
    for name, fact in facts.items():
        out.print(f"{name:>15}  {fact}", soft_wrap=True)


def duration(seconds: float) -> str:
    """Say a time span in its two largest units: "2 d 3 h", "14 s"."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2])
