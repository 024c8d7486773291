"""The order of an upload's steps: what was accepted is stored, and what was not harms nobody, whatever fails."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import BinaryIO

import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr

from api.ingestion import Ingestion
from api.schemas.images import UploadFields
from api.settings import UploadSettings
from common import jobs
from common.db import images
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.errors import InvalidInput, LikenessError, NotFound, StorageUnavailable
from common.received import ReceivedFile
from common.settings import RedisSettings
from common.storage import object_key
from tests.fakes.object_store import MemoryObjectStore
from tests.fixtures import pictures
from tests.fixtures.rows import count, create_owner, load

ONE, OTHER = pictures.jpeg(seed=1), pictures.jpeg(seed=2)
NO_FIELDS = UploadFields()


def received(data: bytes, filename: str = "a.jpg") -> ReceivedFile:
    return ReceivedFile(filename, BytesIO(data), len(data), hashlib.sha256(data).hexdigest())


def key_of(data: bytes) -> str:
    return object_key(hashlib.sha256(data).hexdigest())


class WatchedStore(MemoryObjectStore):
    """Does what a test wants just before it stores."""

    def __init__(self) -> None:
        super().__init__()
        self.before_put: Callable[[str], Awaitable[None]] | None = None

    async def put(self, key: str, data: BinaryIO, size: int, media_type: str) -> None:
        if self.before_put is not None:
            await self.before_put(key)
        await super().put(key, data, size, media_type)


@pytest.fixture
def storage() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def no_redis() -> AsyncIterator[ArqRedis]:
    """Redis is away all the time: nothing here may need it."""
    redis = jobs.create_redis(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0")))
    yield redis
    await redis.aclose(close_connection_pool=True)


@pytest.fixture
def ingestion(database: Database, storage: WatchedStore, no_redis: ArqRedis) -> Ingestion:
    return Ingestion(database, storage, no_redis, UploadSettings())


async def test_what_is_accepted_is_stored_and_pending_without_redis(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    accepted, rejected = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE), received(OTHER)])
    assert rejected == []
    assert set(storage.objects) == {key_of(ONE), key_of(OTHER)}
    for item in accepted:
        assert item.image.status == "pending"
        assert (await load(database, item.image.id)).status == "pending"
        assert not item.duplicate


async def test_a_row_is_pending_only_once_its_object_is_stored(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    seen: list[str] = []

    async def look(_: str) -> None:
        async with database.begin() as session:
            rows = await images.list_page(session, images.ImageFilter(LOCAL_OWNER_ID), limit=10, after=None)
            seen.extend(row.status for row in rows)

    storage.before_put = look
    await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    assert seen == ["created"]


async def test_when_the_store_is_down_nothing_is_promised_and_sending_again_is_safe(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    storage.fails = lambda key: key == key_of(OTHER)
    with pytest.raises(StorageUnavailable):
        await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE), received(OTHER)])
    async with database.begin() as session:
        rows = await images.list_page(session, images.ImageFilter(LOCAL_OWNER_ID), limit=10, after=None)
    assert [row.status for row in rows] == ["created", "created"]

    storage.fails = lambda _: False
    accepted, _ = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE), received(OTHER)])
    assert sorted(item.image.id for item in accepted) == sorted(row.id for row in rows)
    assert {item.image.status for item in accepted} == {"pending"}
    assert set(storage.objects) == {key_of(ONE), key_of(OTHER)}


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
async def test_what_is_there_already_is_not_stored_again(
    storage: WatchedStore, ingestion: Ingestion, *, down: bool
) -> None:
    async def refuse(_: str) -> None:
        raise AssertionError("it is there")

    await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    storage.down, storage.before_put = down, refuse
    ((again,), _) = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE, "b.jpg")])
    assert again.duplicate
    assert (again.filename, again.image.filename) == ("b.jpg", "a.jpg")


async def test_a_lost_original_that_can_not_be_stored_is_no_success(
    storage: WatchedStore, ingestion: Ingestion
) -> None:
    async def fail(_: str) -> None:
        raise StorageUnavailable("object store: it is full")

    await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    storage.objects.clear()
    storage.before_put = fail
    with pytest.raises(StorageUnavailable):
        await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    storage.before_put = None
    ((again,), _) = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    assert again.duplicate
    assert set(storage.objects) == {key_of(ONE)}


async def test_an_image_that_vanishes_while_it_is_stored_is_not_accepted(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    """Deleted by its owner, or given up by the sweep as an upload that died long ago."""

    async def delete(_: str) -> None:
        async with database.begin() as session:
            (row,) = await images.list_page(session, images.ImageFilter(LOCAL_OWNER_ID), limit=10, after=None)
            await images.delete(session, LOCAL_OWNER_ID, row.id)

    storage.before_put = delete
    accepted_files, (gone,) = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    assert (accepted_files, gone.error.code) == ([], "image_deleted")
    storage.before_put = None
    ((accepted,), _) = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    assert (await load(database, accepted.image.id)).status == "pending"


async def test_someone_who_uploads_the_same_and_is_faster_is_no_problem(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    async def overtake(_: str) -> None:
        storage.before_put = None
        await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])

    storage.before_put = overtake
    ((accepted,), _) = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(ONE)])
    assert (await load(database, accepted.image.id)).status == "pending"


async def test_what_is_rejected_leaves_no_row_and_no_object(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    too_large = received(OTHER, "large.jpg")
    too_large.too_large = True
    accepted, rejected = await ingestion.ingest(
        LOCAL_OWNER_ID,
        NO_FIELDS,
        [received(b"no image", "notes.txt"), received(ONE), too_large, received(b"", "empty")],
    )
    assert [item.filename for item in accepted] == ["a.jpg"]
    assert [(item.filename, item.error.code) for item in rejected] == [
        ("notes.txt", "unsupported_media"),
        ("large.jpg", "file_too_large"),
        ("empty", "empty_file"),
    ]
    assert set(storage.objects) == {key_of(ONE)}
    assert await count(database, "images") == 1


async def test_a_request_without_any_image_touches_no_store(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    storage.down = True
    accepted, rejected = await ingestion.ingest(LOCAL_OWNER_ID, NO_FIELDS, [received(b"no image"), received(b"")])
    assert accepted == []
    assert len(rejected) == 2
    assert await count(database, "images") == 0


async def test_a_taken_external_id_is_a_rejection(database: Database, ingestion: Ingestion) -> None:
    fields = UploadFields(external_id="sku-1")
    await ingestion.ingest(LOCAL_OWNER_ID, fields, [received(ONE)])
    accepted, (rejected,) = await ingestion.ingest(LOCAL_OWNER_ID, fields, [received(OTHER)])
    assert accepted == []
    assert rejected.error.code == "external_id_taken"
    assert await count(database, "images") == 1


@pytest.mark.parametrize(
    ("fields", "files", "error"),
    [
        (NO_FIELDS, [], InvalidInput),
        (UploadFields(external_id="sku-1"), [ONE, OTHER], InvalidInput),
    ],
)
async def test_senseless_requests_are_refused(
    database: Database, ingestion: Ingestion, fields: UploadFields, files: list[bytes], error: type[LikenessError]
) -> None:
    with pytest.raises(error):
        await ingestion.ingest(LOCAL_OWNER_ID, fields, [received(data) for data in files])
    assert await count(database, "images") == 0


async def test_another_owners_folder_is_not_there(
    database: Database, storage: WatchedStore, ingestion: Ingestion
) -> None:
    _, folder_id = await create_owner(database)
    with pytest.raises(NotFound):
        await ingestion.ingest(LOCAL_OWNER_ID, UploadFields(folder_id=folder_id), [received(ONE)])
    assert await count(database, "images") == 0
    assert storage.objects == {}
