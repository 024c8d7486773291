"""The contract of `ObjectStore`, kept by the real adapter on a real S3 server and by the fake of the unit tests."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing, suppress
from io import BytesIO
from typing import Any, TypeAlias, cast
from uuid import uuid4

import pytest
from minio.error import S3Error, ServerError
from pydantic import SecretStr
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from common.errors import ObjectCorrupt, ObjectNotFound, StorageUnavailable
from common.settings import S3Settings
from common.storage import MAX_LISTED, ListedObject, ObjectStore, S3ObjectStore, _persist, object_key
from deploy.local.stores import Stores
from tests.fakes.object_store import MemoryObjectStore
from tests.fixtures.silence import silent_server

Call: TypeAlias = Callable[[ObjectStore], Awaitable[object]]

DATA = bytes(range(256)) * 4096
"""A megabyte: several chunks."""


def s3_settings(stores: Stores, **changes: object) -> S3Settings:
    values: dict[str, object] = {
        "endpoint": stores.s3_endpoint,
        "access_key": stores.s3_access_key,
        "secret_key": SecretStr(stores.s3_secret_key),
        "bucket": stores.bucket,
        "connect_timeout_s": 1,
        "read_timeout_s": 5,
    }
    return S3Settings.model_validate({**values, **changes})


@pytest.fixture(params=["s3", "memory"])
async def store(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjectStore()
        return
    opened = S3ObjectStore(s3_settings(stores))
    yield opened
    await opened.close()


@pytest.fixture
def key() -> str:
    return f"sha256/{uuid4().hex}"


async def put(store: ObjectStore, key: str, data: bytes) -> None:
    await store.put(key, BytesIO(data), len(data), "image/png")


async def read(store: ObjectStore, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key, offset=offset, length=length)])


@pytest.mark.parametrize("data", [b"", b"a", DATA])
async def test_what_is_put_is_got(store: ObjectStore, key: str, data: bytes) -> None:
    await put(store, key, data)
    assert await store.get(key, max_bytes=len(data)) == data
    assert await read(store, key) == data


async def test_put_begins_at_the_start_of_the_data(store: ObjectStore, key: str) -> None:
    data = BytesIO(b"header and pixels")
    data.seek(6)
    await store.put(key, data, 17, "image/png")
    assert await store.get(key, max_bytes=100) == b"header and pixels"


async def test_data_that_ends_too_early_stores_nothing(store: ObjectStore, key: str) -> None:
    with pytest.raises(StorageUnavailable):
        await store.put(key, BytesIO(b"half"), 8, "image/png")
    assert await store.find(key) is None


async def test_put_again_replaces(store: ObjectStore, key: str) -> None:
    for data in (b"one", b"two", b"two"):
        await put(store, key, data)
        assert await store.get(key, max_bytes=100) == data


async def test_objects_put_at_once_do_not_mix(store: ObjectStore) -> None:
    objects = {f"sha256/{uuid4().hex}": f"object {number}".encode() * 1000 for number in range(20)}
    await asyncio.gather(*(put(store, key, data) for key, data in objects.items()))
    got = await asyncio.gather(*(store.get(key, max_bytes=100_000) for key in objects))
    assert dict(zip(objects, got, strict=True)) == objects


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, 10), (5, 10), (5, None), (len(DATA) - 1, 1), (len(DATA) - 5, 100), (0, 0), (7, 0)],
)
async def test_a_stream_yields_the_range_that_was_asked_for(
    store: ObjectStore, key: str, offset: int, length: int | None
) -> None:
    await put(store, key, DATA)
    end = None if length is None else offset + length
    assert await read(store, key, offset=offset, length=length) == DATA[offset:end]


async def test_a_large_object_comes_in_chunks(store: ObjectStore, key: str) -> None:
    await put(store, key, DATA)
    chunks = [chunk async for chunk in store.stream(key)]
    assert len(chunks) > 1
    assert all(chunks), "no chunk is empty"


async def test_a_stream_that_is_not_read_to_its_end_harms_nobody(store: ObjectStore, key: str) -> None:
    await put(store, key, DATA)
    for _ in range(20):  # more than there are connections
        stream = store.stream(key)
        assert await anext(stream)
        await stream.aclose()
    assert await store.get(key, max_bytes=len(DATA)) == DATA


async def test_find_knows_size_and_tag(store: ObjectStore, key: str) -> None:
    await put(store, key, b"one")
    first = await store.find(key)
    assert first is not None
    assert first.size == 3
    assert first.etag == hashlib.md5(b"one", usedforsecurity=False).hexdigest(), "without quotes"
    await put(store, key, b"other")
    second = await store.find(key)
    assert second is not None
    assert second.etag != first.etag


async def test_delete_removes_and_may_be_repeated(store: ObjectStore, key: str) -> None:
    await put(store, key, b"one")
    for _ in range(3):
        await store.delete(key)
        assert await store.find(key) is None


async def test_a_listing_is_in_order_and_bounded(store: ObjectStore) -> None:
    prefix = f"list-{uuid4().hex}/"
    keys = sorted(prefix + object_key(uuid4().hex * 2) for _ in range(12))
    for size, key in enumerate(keys):
        await put(store, key, b"x" * size)
    await put(store, prefix[:-1] + "-other/one", b"1")
    expected = [ListedObject(key, size) for size, key in enumerate(keys)]
    assert await store.list_objects(prefix) == expected
    assert await store.list_objects(prefix, limit=5) == expected[:5]
    assert await store.list_objects(prefix, after=keys[4], limit=5) == expected[5:10]
    assert await store.list_objects(prefix, after=keys[9], limit=5) == expected[10:]
    assert await store.list_objects(prefix, after=keys[4][:-1]) == expected[4:], "a key that is not there"
    assert await store.list_objects(prefix, after=keys[-1]) == []
    assert await store.list_objects(prefix + "none/") == []


async def test_a_listing_goes_on_past_one_answer(store: ObjectStore) -> None:
    prefix = f"list-{uuid4().hex}/"
    keys = sorted(prefix + object_key(uuid4().hex * 2) for _ in range(MAX_LISTED + 7))
    for start in range(0, len(keys), 50):
        await asyncio.gather(*(put(store, key, b"") for key in keys[start : start + 50]))
    first = await store.list_objects(prefix, limit=10 * MAX_LISTED)
    rest = await store.list_objects(prefix, after=first[-1].key)
    assert (len(first), [item.key for item in (*first, *rest)]) == (MAX_LISTED, keys)


async def test_what_is_absent_is_not_found(store: ObjectStore, key: str) -> None:
    assert await store.find(key) is None
    with pytest.raises(ObjectNotFound):
        await store.get(key, max_bytes=10)
    with pytest.raises(ObjectNotFound):
        await anext(store.stream(key))
    with pytest.raises(ObjectNotFound):
        await anext(store.stream(key, offset=1, length=1))


async def test_more_than_was_expected_is_refused(store: ObjectStore, key: str) -> None:
    await put(store, key, b"12345")
    assert await store.get(key, max_bytes=5) == b"12345"
    with pytest.raises(ObjectCorrupt, match="larger than 4"):
        await store.get(key, max_bytes=4)
    assert await store.get(key, max_bytes=5) == b"12345", "the connection can be used again"


async def test_a_store_that_is_there_answers(store: ObjectStore) -> None:
    await store.ping()
    await store.ensure_bucket()
    await store.ensure_bucket()


async def first_chunk(store: ObjectStore) -> bytes:
    return await anext(store.stream("any"))


CALLS: Sequence[tuple[str, Call]] = [
    ("put", lambda store: put(store, "any", b"data")),
    ("get", lambda store: store.get("any", max_bytes=10)),
    ("stream", first_chunk),
    ("find", lambda store: store.find("any")),
    ("list_objects", lambda store: store.list_objects("any")),
    ("delete", lambda store: store.delete("any")),
    ("ping", lambda store: store.ping()),
    ("ensure_bucket", lambda store: store.ensure_bucket()),
]
every_call = pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])


@every_call
async def test_the_fake_can_be_down(call: Call) -> None:
    store = MemoryObjectStore()
    store.down = True
    with pytest.raises(StorageUnavailable):
        await call(store)


async def fails(settings: S3Settings, call: Call) -> None:
    store = S3ObjectStore(settings)
    try:
        with pytest.raises(StorageUnavailable):
            await call(store)
    finally:
        await store.close()


@every_call
async def test_a_server_that_is_gone_is_unavailable(stores: Stores, call: Call) -> None:
    await fails(s3_settings(stores, endpoint="http://127.0.0.1:1"), call)


@every_call
async def test_a_server_that_refuses_us_is_unavailable(stores: Stores, call: Call) -> None:
    await fails(s3_settings(stores, secret_key=SecretStr("not the key")), call)


@every_call
async def test_a_server_that_never_answers_is_unavailable(stores: Stores, call: Call) -> None:
    with silent_server() as port:
        await fails(s3_settings(stores, endpoint=f"http://127.0.0.1:{port}", read_timeout_s=0.05), call)


@every_call
async def test_a_server_that_hangs_is_given_up_within_the_deadline(stores: Stores, call: Call) -> None:
    """It is silent for less long than a single read may take."""
    with silent_server() as port:
        endpoint = f"http://127.0.0.1:{port}"
        await fails(s3_settings(stores, endpoint=endpoint, read_timeout_s=0.5, timeout_s=0.05), call)


@pytest.mark.parametrize("name", ["get", "stream"])
async def test_a_body_that_drips_is_given_up_within_the_deadline(stores: Stores, name: str) -> None:
    """Never silent for long enough to run into the deadline of a read, and never done."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError), closing(writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = s3_settings(stores, endpoint=f"http://127.0.0.1:{port}", timeout_s=0.2)
        await fails(settings, {**dict(CALLS), "get": lambda store: store.get("any", max_bytes=1_000_000)}[name])


async def test_a_hiccup_is_not_worth_a_word_but_nothing_begins_after_the_deadline() -> None:
    failures: list[Exception] = [ProtocolError("closed"), ServerError("bad gateway", 502)]

    def call() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    assert await asyncio.to_thread(_persist, call, time.monotonic() + 60) == "done"
    failures += [ProtocolError("closed")] * 2
    with pytest.raises(ProtocolError):
        await asyncio.to_thread(_persist, call, time.monotonic())
    assert len(failures) == 1, "one try and no other"


@pytest.mark.parametrize(
    "error",
    [ReadTimeoutError(cast(Any, None), "/", "silent"), S3Error(cast(Any, None), "AccessDenied", "no", "/", "1", "2")],
    ids=["silence", "refusal"],
)
async def test_what_will_not_be_better_in_a_moment_is_not_tried_again(error: Exception) -> None:
    tries: list[int] = []

    def call() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        await asyncio.to_thread(_persist, call, time.monotonic() + 60)
    assert tries == [1]


# SeaweedFS creates a bucket on the first put, as its access key may; `ensure_bucket` is there to create it.
@pytest.mark.parametrize("name", ["get", "stream", "find", "list_objects", "delete", "ping"])
async def test_a_bucket_that_is_missing_is_an_outage(stores: Stores, name: str) -> None:
    await fails(s3_settings(stores, bucket=f"missing-{uuid4().hex}"), dict(CALLS)[name])


async def test_a_missing_bucket_is_created_once(stores: Stores, key: str) -> None:
    store = S3ObjectStore(s3_settings(stores, bucket=f"new-{uuid4().hex}"))
    try:
        await asyncio.gather(*(store.ensure_bucket() for _ in range(8)))  # as services do that start together
        await store.ensure_bucket()
        await store.ping()
        await put(store, key, b"data")
        assert await store.get(key, max_bytes=10) == b"data"
    finally:
        await store.close()
