"""Recall of the vector index, without a filter and under each kind of filter, against brute force in NumPy.

Of the engine in this process, or of the server at `QDRANT_URL`.
"""

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np

from common.settings import QdrantSettings
from common.vectors.base import AnyOf, Between, Collection, During, Equals, Filter
from common.vectors.factory import create_vector_index
from tests.benchmarks.measurements import AtLeast, Measurements
from tests.contracts.brute_force import ALICE, CATEGORIES, DECLARED, FIRST, FOLDERS, holds, points, vectors

POINTS = 50_000
DIM = 512
QUERIES = 50
DEPTH = 20
UNFILTERED_TARGET, FILTERED_TARGET = 0.99, 0.97
_BATCH = 1_000

_MIDDLE = FIRST + timedelta(minutes=POINTS / 2)
FILTERS = {
    "owner alone": Filter(ALICE),
    "folder": Filter(ALICE, folder_id=FOLDERS[0]),
    "category": Filter(ALICE, category=CATEGORIES[0]),
    "all tags": Filter(ALICE, tags=("red", "sale")),
    "any tag": Filter(ALICE, any_tags=("red", "blue")),
    "created": Filter(ALICE, created_from=_MIDDLE, created_before=_MIDDLE + timedelta(minutes=POINTS / 100)),
    "keyword": Filter(ALICE, attributes=(Equals("brand", "acme"),)),
    "keywords": Filter(ALICE, attributes=(AnyOf("brand", ("acme", "Acme")),)),
    "range": Filter(ALICE, attributes=(Between("price", gt=0, lte=100),)),
    "time": Filter(ALICE, attributes=(During("made", lt=FIRST),)),
    "all at once": Filter(
        ALICE,
        FOLDERS[0],
        CATEGORIES[0],
        ("red",),
        ("blue", "sale"),
        FIRST,
        _MIDDLE,
        (Between("price", lte=100), Equals("sold", "true")),
    ),
}


def measure() -> Measurements:
    """Return the mean recall of the best 20 among 50,000 points, by filter."""
    return asyncio.run(_measure())


async def _measure() -> Measurements:
    stored = points(POINTS, dim=DIM)
    matrix = np.stack([point.vector for point in stored])
    queries = vectors(QUERIES, seed=99, dim=DIM)
    collection = Collection(f"recall-{uuid4().hex}", DIM)
    with tempfile.TemporaryDirectory() as folder:
        server = os.environ.get("QDRANT_URL")
        where = (
            QdrantSettings(url=server, timeout_s=120) if server else QdrantSettings(path=Path(folder), timeout_s=120)
        )
        index = create_vector_index(where, DECLARED)
        try:
            await index.ensure(collection)
            for start in range(0, POINTS, _BATCH):
                await index.upsert(collection, stored[start : start + _BATCH])
            figures: dict[str, AtLeast] = {}
            for name, wanted in FILTERS.items():
                passing = np.flatnonzero([holds(wanted, point.payload) for point in stored])
                recalls = []
                for query in queries:
                    best = passing[np.argsort(-(matrix[passing] @ query), kind="stable")[:DEPTH]]
                    found = await index.query(collection, query, filter=wanted, limit=DEPTH)
                    expected = {stored[position].id for position in best}
                    recalls.append(len(expected & {match.id for match in found}) / len(expected))
                target = UNFILTERED_TARGET if wanted == Filter(ALICE) else FILTERED_TARGET
                figures[f"recall@{DEPTH}, {name}"] = AtLeast(float(np.mean(recalls)), target)
            await index.delete(collection, [point.id for point in stored])
            return figures
        finally:
            await index.close()
