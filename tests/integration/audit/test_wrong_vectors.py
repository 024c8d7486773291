"""A point whose vector is not the one kept for its image: found and put right from PostgreSQL, by both adapters."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from common.db import images
from common.db.models import LOCAL_OWNER_ID, Image
from common.payloads import payload_of
from common.settings import QdrantSettings
from common.vectors.base import ROUNDING, Point
from common.vectors.factory import create_vector_index
from common.vectors.qdrant import QdrantIndex
from tests.fakes.qdrant_server import QdrantServer
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.auditing import Collected, fixed, found, ids, vector_of
from tests.fixtures.rows import load
from worker.audit.report import Mismatch

BARELY = 2 * ROUNDING
"""More than rounding."""


@pytest.fixture(params=["edge", "qdrant"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UnreliableIndex]:
    """An empty index of either kind."""
    if request.param == "edge":
        opened = UnreliableIndex(create_vector_index(QdrantSettings(path=tmp_path / "vectors")))
    else:
        transport = httpx.ASGITransport(QdrantServer().app())
        client = AsyncQdrantClient(url="http://qdrant.test", check_compatibility=False, transport=transport)
        opened = UnreliableIndex(QdrantIndex(client, timeout_s=60))
    yield opened
    await opened.close()


async def spoil(collected: Collected, image: Image, by: float = 1.0) -> None:
    """Give an image's point another vector, with one number changed by so much."""
    vector = vector_of(image)
    vector[np.argmin(np.abs(vector))] += by
    vector /= np.linalg.norm(vector)
    await collected.index.upsert(collected.collection, [Point(image.id, vector, payload_of(image))])


async def has_its_vector(collected: Collected, image: Image) -> bool:
    vectors = await collected.index.fetch(collected.collection, [image.id])
    return np.allclose(vectors[image.id], vector_of(image), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("by", [1.0, BARELY], ids=["far", "barely"])
async def test_it_is_found_and_written_from_what_is_kept(collected: Collected, by: float) -> None:
    wrong, *right = await collected.add(3)
    await spoil(collected, wrong, by)
    report = await collected.audit()
    assert (found(report), report.left) == ({"vector_wrong": ids([wrong])}, 1)
    assert not await has_its_vector(collected, wrong), "nothing is changed unasked"
    assert fixed(await collected.audit(fix=True)) == {Mismatch.VECTOR_WRONG: 1}
    assert all([await has_its_vector(collected, image) for image in (wrong, *right)])
    row = await load(collected.database, wrong.id)
    assert (row.status, row.attempt) == ("done", wrong.attempt), "the pipeline, and so the model, is not asked"
    assert (await collected.audit()).found == 0


async def test_what_is_kept_need_not_be_normalised_to_the_last_digit(collected: Collected) -> None:
    image, other = await collected.add(2)
    for row, norm in ((image, 1.0009), (other, 0.9991)):
        vector = (vector_of(row) * norm).astype("<f4").tobytes()
        await collected.execute("UPDATE embeddings SET vector = :v WHERE sha256 = :h", v=vector, h=row.sha256)
    assert (await collected.audit()).found == 0


async def test_a_stale_payload_is_put_right_with_it(collected: Collected) -> None:
    (image,) = await collected.add(category="shoes")
    await spoil(collected, image)
    await collected.execute("UPDATE images SET category = 'hats'")
    report = await collected.audit(fix=True)
    assert fixed(report) == {Mismatch.VECTOR_WRONG: 1, Mismatch.PAYLOAD_STALE: 1}
    assert (await collected.audit()).found == 0


@pytest.mark.parametrize("kept", [[np.nan] * 4, [0.0] * 4, [3.0] * 4], ids=["no-number", "zero", "too-long"])
async def test_what_is_kept_and_no_vector_is_made_again(collected: Collected, kept: list[float]) -> None:
    (image,) = await collected.add()
    await collected.execute("UPDATE embeddings SET vector = :v", v=np.asarray(kept, "<f4").tobytes())
    report = await collected.audit(fix=True)
    assert fixed(report) == {Mismatch.VECTOR_WRONG: 1}
    assert (await load(collected.database, image.id)).status == "pending"
    assert await has_its_vector(collected, image), "searches find it meanwhile"


async def test_a_lost_original_does_not_stand_in_the_way(collected: Collected) -> None:
    (image,) = await collected.add()
    await spoil(collected, image)
    await collected.storage.delete(image.object_key)
    assert fixed(await collected.audit(fix=True)) == {Mismatch.OBJECT_MISSING: 0, Mismatch.VECTOR_WRONG: 1}
    assert await has_its_vector(collected, image)


async def test_an_edit_the_index_still_has_to_follow_hides_nothing(collected: Collected) -> None:
    (image,) = await collected.add(category="shoes")
    await spoil(collected, image)
    async with collected.database.begin() as session:
        await images.edit(session, LOCAL_OWNER_ID, image.id, {"category": "hats"})
    assert fixed(await collected.audit(fix=True)) == {Mismatch.VECTOR_WRONG: 1}
    assert await has_its_vector(collected, image)
