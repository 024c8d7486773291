"""What every search reads, by the shortest way: the driver's own prepared statements, one round trip each.

The object mapper takes longer than PostgreSQL to find twenty rows by their ids, see `tests/benchmarks/search.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.db.embeddings import as_vector
from common.db.engine import Database
from common.db.models import EmbeddingModel


class ShownImage(NamedTuple):
    """What is shown of an image: the columns of its row of these names, see `common.db.models.Image`."""

    id: UUID
    status: str
    attempt: int
    error_code: str | None
    error_message: str | None
    filename: str
    media_type: str | None
    byte_size: int | None
    width: int | None
    height: int | None
    sha256: str | None
    folder_id: UUID
    external_id: str | None
    title: str | None
    description: str | None
    category: str | None
    tags: list[str]
    attributes: dict[str, Any]
    labels: dict[str, Any]
    visibility: str
    visibility_by: str | None
    created_at: datetime
    updated_at: datetime
    indexed_at: datetime | None


class LiveModels(NamedTuple):
    """The live models, and the version of their rows, which is another one as soon as any of them is changed."""

    models: list[EmbeddingModel]
    """The active one first, as `embedding_models.list_live` has them."""
    version: str


class ShownImages(NamedTuple):
    """Images by their ids, and the version that the live models' rows had when these were read."""

    by_id: dict[UUID, ShownImage]
    live_version: str


@dataclass(frozen=True, slots=True, eq=False)
class StoredVector:
    """An image's state, and a model's vector of its bytes (float32, shape (dim,)), if there is one."""

    status: str
    vector: NDArray[np.float32] | None


_MODEL = [column.name for column in EmbeddingModel.__table__.columns]

# By the transaction that wrote each row last.
_VERSION = """
SELECT coalesce(string_agg(id || ':' || xmin, ' ' ORDER BY id), '') AS version
  FROM embedding_models WHERE state <> 'retired'"""

# `active` comes before `building`. Where there is no model, the version is told all the same; so it is below.
_LIVE = f"""
SELECT live.version, {", ".join(f"model.{name}" for name in _MODEL)}
  FROM ({_VERSION}) AS live
  LEFT JOIN embedding_models AS model ON model.state <> 'retired'
 ORDER BY model.state, model.id"""  # noqa: S608 - names of columns

_SHOWN = f"""
SELECT live.version, {", ".join(f"image.{name}" for name in ShownImage._fields)}
  FROM ({_VERSION}) AS live
  LEFT JOIN images AS image ON image.id = ANY($1::uuid[]) AND image.owner_id = $2"""  # noqa: S608 - names of columns

_STORED = """
SELECT image.id, image.status, embedding.vector
  FROM images AS image
  LEFT JOIN embeddings AS embedding ON embedding.sha256 = image.sha256 AND embedding.model_id = $3
 WHERE image.id = ANY($1::uuid[]) AND image.owner_id = $2"""


async def find_live(database: Database) -> LiveModels:
    """Return the live models."""
    rows = await database.fetch(_LIVE)
    models = [EmbeddingModel(**{name: row[name] for name in _MODEL}) for row in rows if row["id"] is not None]
    return LiveModels(models, rows[0]["version"])


async def find_shown(database: Database, owner_id: UUID, ids: Sequence[UUID]) -> ShownImages:
    """Return those of the owner's images that exist."""
    rows = await database.fetch(_SHOWN, ids, owner_id)
    images = (ShownImage._make(row[1:]) for row in rows if row["id"] is not None)
    return ShownImages({image.id: image for image in images}, rows[0]["version"])


async def find_stored(
    database: Database, owner_id: UUID, ids: Sequence[UUID], model_id: int
) -> dict[UUID, StoredVector]:
    """Return what is kept of those of the owner's images that exist."""
    rows = await database.fetch(_STORED, ids, owner_id, model_id)
    return {row["id"]: StoredVector(row["status"], as_vector(row["vector"]) if row["vector"] else None) for row in rows}
