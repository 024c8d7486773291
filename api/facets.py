"""Counts of what a filter lets through, by category and by tag."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.db import embedding_models
from common.db.engine import Database
from common.vectors.base import MAX_FACETS, Collection, Facet, Filter, VectorIndex


@dataclass(frozen=True, slots=True)
class Facets:
    """The most frequent values first."""

    categories: Sequence[Facet] = ()
    tags: Sequence[Facet] = ()


async def count_facets(database: Database, vectors: VectorIndex, wanted: Filter) -> Facets:
    """Count the searchable images that pass a filter; nothing is searchable before there is a model."""
    async with database.read() as session:
        model = await embedding_models.find_active(session)
    if model is None:
        return Facets()
    collection = Collection(model.collection, model.dim)
    await vectors.ensure(collection)
    return Facets(
        categories=await vectors.facet(collection, "category", filter=wanted, limit=MAX_FACETS),
        tags=await vectors.facet(collection, "tags", filter=wanted, limit=MAX_FACETS),
    )
