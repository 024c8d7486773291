"""How a stage writes down what it sees in an image, and whether that is to be shown by searches."""

import re
from collections.abc import Mapping
from dataclasses import replace

from common.batcher import Batcher
from common.db import labels
from common.db.engine import Database
from common.db.labels import Kept, Sighting
from common.db.models import OWNER
from common.errors import OwnershipLost
from worker.work import Work

MAX_LABELS = 100
"""Most labels of one stage on one image."""
MAX_LABEL_CHARS = 100

_SOURCE = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_DIGITS = 4
"""Of a score; more would tell the same image's runs apart by how its texts were batched."""
_BATCH = 64
_WAIT_S = 0.005


class Labels:
    """Keeps labels of images: those of concurrent images as one statement, each only while its attempt owns the image.

    They go into the row, and with the point that `index` writes into the vector index. So a stage that uses this comes
    before `index`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sightings: Batcher[Sighting, Kept] = Batcher(
            self._flush, name="labels", max_size=_BATCH, max_wait=_WAIT_S
        )

    async def keep(self, work: Work, source: str, scores: Mapping[str, float], *, hide: bool | None = None) -> None:
        """Replace what a stage has seen in an image before; the same again changes nothing.

        Args:
            work: the image; its `claim` is brought up to date.
            source: the stage's name, not `owner`.
            scores: by label, up to `MAX_LABELS` of them, how sure the stage is, 0 to 1; empty: it sees nothing.
            hide: whether searches are to leave the image out. False takes back this stage's own True, None says
                nothing. The owner's decision stands against all.

        Raises:
            OwnershipLost: another attempt has taken the image over.
            ValueError: source, labels or scores are not as described.
        """
        check(source, scores)
        rounded = {label: round(float(score), _DIGITS) for label, score in scores.items()}
        kept = await self._sightings.submit(Sighting(work.claim.fence, source, rounded, hide))
        claim = work.claim
        # Only if nobody has edited the row since it was claimed will the index have all of its new version.
        unedited = kept.version_before == claim.payload_version
        work.claim = replace(
            claim,
            labels=kept.labels,
            visibility=kept.visibility,
            payload_version=kept.payload_version if unedited else claim.payload_version,
        )

    async def _flush(self, sightings: list[Sighting]) -> list[Kept | Exception]:
        async with self._database.begin() as session:
            kept = await labels.keep(session, sightings)
        fences = [sighting.fence for sighting in sightings]
        return [kept.get(fence.id, OwnershipLost(f"image {fence.id}, attempt {fence.attempt}")) for fence in fences]


def check(source: str, scores: Mapping[str, float]) -> None:
    """Raise `ValueError` for what can't be kept; in one statement with others, it would harm them."""
    if not _SOURCE.fullmatch(source) or source == OWNER:
        raise ValueError(f"a stage that keeps labels can't be named {source!r}")
    if len(scores) > MAX_LABELS:
        raise ValueError(f"{source}: {len(scores)} labels, at most {MAX_LABELS} are kept")
    for label, score in scores.items():
        if not is_label(label):
            raise ValueError(f"{source}: {label!r} is no label")
        if not 0 <= score <= 1:
            raise ValueError(f"{source}: a score from 0 to 1 for {label!r}, got {score}")


def is_label(label: str) -> bool:
    """Tell whether it is 1 to `MAX_LABEL_CHARS` characters, without control characters and lone surrogates."""
    return 1 <= len(label) <= MAX_LABEL_CHARS and label.isprintable()
