"""Purging against uploads of the same bytes, on a real PostgreSQL and a real S3: nobody is left without an object."""

import asyncio
import random
from collections.abc import AsyncIterator
from io import BytesIO
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from common.db import images, lifecycle, tombstones
from common.db.engine import Database
from common.db.models import Image
from common.purge import Purge
from common.settings import S3Settings
from common.storage import ObjectStore, S3ObjectStore
from deploy.local.stores import Stores
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.rows import count, create_folder, delete, exists, new_image, record_done

CONTENT = b"0123456789"


@pytest.fixture
async def s3(stores: Stores) -> AsyncIterator[S3ObjectStore]:
    opened = S3ObjectStore(
        S3Settings(
            endpoint=stores.s3_endpoint,
            access_key=stores.s3_access_key,
            secret_key=SecretStr(stores.s3_secret_key),
            bucket=stores.bucket,
        )
    )
    yield opened
    await opened.close()


async def test_recording_waits_for_a_purge_of_the_same_bytes_and_for_no_other(database: Database) -> None:
    upload, other = new_image(), new_image()

    async def record(*uploads: images.NewImage) -> None:
        async with database.begin() as session:
            await images.record(session, uploads)

    async with database.begin() as session:
        assert await tombstones.lock_for_purge(session, upload.sha256)
        await record(other)
        waiting = asyncio.create_task(record(upload))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        assert await tombstones.lock_for_purge(session, upload.sha256), "still no image has these bytes"
    await waiting
    assert await count(database, "images") == 2


async def test_a_purge_waits_for_recordings_of_the_same_bytes(database: Database) -> None:
    upload = new_image()

    async def is_unused() -> bool:
        async with database.begin() as session:
            return await tombstones.lock_for_purge(session, upload.sha256)

    async with database.begin() as session:
        await images.record(session, [upload])
        waiting = asyncio.create_task(is_unused())
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
    assert await waiting is False


async def upload_as_the_api_does(database: Database, s3: ObjectStore, upload: images.NewImage) -> UUID | None:
    """Record, store, mark; return the image if it was accepted, None if it was deleted meanwhile."""
    async with database.begin() as session:
        (row,) = await images.record(session, [upload])
    assert row is not None
    if row.image.status == "created":
        await s3.put(upload.object_key, BytesIO(CONTENT), len(CONTENT), "image/png")
        async with database.begin() as session:
            await lifecycle.mark_stored(session, [row.image.id])
    return row.image.id


async def test_an_upload_that_races_with_deletion_of_the_same_bytes_keeps_its_object(
    database: Database, s3: S3ObjectStore, index: UnreliableIndex
) -> None:
    """The protocol of `lock_for_purge`: whatever the order, an image that is there has its bytes."""
    choose = random.Random(7)
    purge = Purge(database, s3, index)
    folder_id = await create_folder(database)
    survivors = 0
    for _ in range(60):
        sha256 = uuid4().hex * 2
        (old,) = await record_done(database, new_image(sha256))
        await s3.put(old.object_key, BytesIO(CONTENT), len(CONTENT), "image/png")
        again = [new_image(sha256), new_image(sha256, folder_id=folder_id)]

        async def remove(image: Image = old) -> None:
            await delete(database, image)
            await purge.purge(image.id, image.sha256)
            await purge.purge(image.id, image.sha256)

        racers = [remove(), *(upload_as_the_api_does(database, s3, upload) for upload in again)]
        choose.shuffle(racers)
        ids = [id_ for id_ in await asyncio.gather(*racers) if id_ is not None]
        for id_ in ids:
            if await exists(database, id_):
                survivors += 1
                assert await s3.find(old.object_key) is not None, "an image without its bytes"
    assert survivors >= 60, "the one in the other folder always lives on"
