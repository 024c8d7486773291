"""What every search reads, by the shortest way: the driver's own prepared statements, one round trip each.

The object mapper takes longer than PostgreSQL to find twenty rows by their ids, see `tests/benchmarks/search.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from common.db.embeddings import as_vector
from common.db.engine import Database
from common.db.models import EmbeddingModel


@dataclass(frozen=True, slots=True)
class ShownImage:
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


@dataclass(frozen=True, slots=True, eq=False)
class StoredVectors:
    """An image's state, and the vectors (float32, shape (dim,)) that are kept of its bytes, by the models' ids."""

    status: str
    by_model: dict[int, NDArray[np.float32]]


_SHOWN = ", ".join(field.name for field in fields(ShownImage))
_MODEL = [column.name for column in EmbeddingModel.__table__.columns]

# `active` comes before `building`, as in `embedding_models.list_live`. Where there is no model, or no image, the other
# is told all the same.
_LIVE = f"""
SELECT {", ".join(f"model.{name}" for name in _MODEL)}, image.id AS image_id, image.status, embedding.vector
  FROM (SELECT * FROM embedding_models WHERE state <> 'retired') AS model
  FULL JOIN (SELECT id, status, sha256 FROM images WHERE id = ANY($1::uuid[]) AND owner_id = $2) AS image ON true
  LEFT JOIN embeddings AS embedding ON embedding.sha256 = image.sha256 AND embedding.model_id = model.id
 ORDER BY model.state, model.id"""  # noqa: S608 - names of columns

_BY_IDS = f"SELECT {_SHOWN} FROM images WHERE id = ANY($1::uuid[]) AND owner_id = $2"  # noqa: S608 - names of columns


async def find_live(
    database: Database, owner_id: UUID, image_ids: Sequence[UUID]
) -> tuple[list[EmbeddingModel], dict[UUID, StoredVectors]]:
    """Return the live models, the active one first, and what they have of those of the owner's images that exist."""
    models: dict[int, EmbeddingModel] = {}
    stored: dict[UUID, StoredVectors] = {}
    for row in await database.fetch(_LIVE, image_ids, owner_id):
        if row["id"] is not None and row["id"] not in models:
            models[row["id"]] = EmbeddingModel(**{name: row[name] for name in _MODEL})
        if row["image_id"] is not None:
            of_image = stored.setdefault(row["image_id"], StoredVectors(row["status"], {}))
            if row["vector"] is not None:
                of_image.by_model[row["id"]] = as_vector(row["vector"])
    return list(models.values()), stored


async def find_shown(database: Database, owner_id: UUID, ids: Sequence[UUID]) -> dict[UUID, ShownImage]:
    """Return those of the owner's images that exist, by id."""
    return {row["id"]: ShownImage(*row) for row in await database.fetch(_BY_IDS, ids, owner_id)}
