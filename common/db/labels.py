"""What stages of the pipeline see in images: written while the attempt that saw it still owns the image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.attempts import Fence
from common.db.models import OWNER


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one stage has seen in one image.

    Attributes:
        fence: of the attempt in which it saw that.
        source: the stage's name.
        scores: by label, 0 to 1; they replace what this stage saw before.
        hide: whether the image is to be hidden; None: this is no matter of the stage's.
    """

    fence: Fence
    source: str
    scores: Mapping[str, float]
    hide: bool | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A row after that: `payload_version` is `version_before`, or more if something changed."""

    labels: dict[str, dict[str, float]]
    visibility: str
    version_before: int
    payload_version: int


# Whoever hid an image shows it again; what an owner decided stays. `ROW (…)` compares nulls as well.
_KEEP = text(
    """
WITH held AS (
    SELECT images.id, images.labels AS labels_before, visibility AS visibility_before, visibility_by AS by_before,
           payload_version AS version_before, hide, CAST(scores AS jsonb) AS scores,
           hide IS NULL OR visibility_by IS NOT DISTINCT FROM :owner AS settled
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:scores AS text[]), CAST(:hides AS bool[]))
           AS seen(id, attempt, scores, hide)
      JOIN images ON images.id = seen.id AND images.attempt = seen.attempt
     WHERE images.status IN ('embedding', 'indexing') AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
), wanted AS (
    SELECT id, version_before,
           ROW (labels_before, visibility_before, by_before) AS before,
           CASE WHEN scores = '{}' THEN labels_before - CAST(:source AS text)
                ELSE labels_before || jsonb_build_object(CAST(:source AS text), scores) END AS labels,
           CASE WHEN settled THEN visibility_before
                WHEN hide THEN 'hidden'
                WHEN by_before = :source THEN 'visible'
                ELSE visibility_before END AS visibility,
           CASE WHEN settled THEN by_before
                WHEN hide THEN coalesce(by_before, :source)
                WHEN by_before = :source THEN NULL
                ELSE by_before END AS visibility_by
      FROM held
)
UPDATE images
   SET labels = wanted.labels, visibility = wanted.visibility, visibility_by = wanted.visibility_by,
       payload_version = version_before
           + (ROW (wanted.labels, wanted.visibility, wanted.visibility_by) IS DISTINCT FROM wanted.before)::int
  FROM wanted WHERE images.id = wanted.id
RETURNING images.id, images.labels, images.visibility, version_before, images.payload_version"""
).columns(labels=JSONB)


async def keep(session: AsyncSession, sightings: Sequence[Sighting]) -> dict[UUID, Kept]:
    """Write what was seen; return what the images have now, those that were still owned.

    Writing the same again changes nothing, `payload_version` included.
    """
    kept: dict[UUID, Kept] = {}
    # A statement for each stage: of several rows for one image, an UPDATE takes only one.
    for source in sorted({sighting.source for sighting in sightings}):
        rows = await session.execute(_KEEP, _parameters(source, [each for each in sightings if each.source == source]))
        kept |= {id_: Kept(*rest) for id_, *rest in rows}
    return kept


def _parameters(source: str, sightings: Sequence[Sighting]) -> dict[str, object]:
    return {
        "owner": OWNER,
        "source": source,
        "ids": [sighting.fence.id for sighting in sightings],
        "attempts": [sighting.fence.attempt for sighting in sightings],
        "scores": [json.dumps(dict(sighting.scores), allow_nan=False) for sighting in sightings],
        "hides": [sighting.hide for sighting in sightings],
    }
