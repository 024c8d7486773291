"""The object store: bytes by content-addressed key, through anything that speaks S3."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from prometheus_client import Gauge
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as NoAnswer
from urllib3.response import BaseHTTPResponse

from common.errors import ObjectCorrupt, ObjectNotFound, StorageUnavailable
from common.settings import S3Settings

Answer = TypeVar("Answer")

ORIGINALS = "sha256/"
"""What the keys of all originals begin with."""
THUMBNAILS = "thumbnail/"
"""What the keys of all thumbnails begin with."""

MAX_LISTED = 1000
"""Keys of one listing at most: what a server puts into one answer."""

THREADS = Gauge(
    "likeness_storage_threads", "Calls to the object store that can run at once.", multiprocess_mode="livesum"
)
CALLS = Gauge(
    "likeness_storage_calls_in_flight",
    "Calls to the object store that run, or wait for a thread.",
    multiprocess_mode="livesum",
)

_CHUNK_BYTES = 256 * 1024
_PAUSES_S = (0.2, 0.4)
"""Before another try of a call that failed at once: a connection that had been closed, a server with a hiccup."""
_DELETE_TIMEOUT_S = 5.0
"""A deletion is small, and may hold a lock in the database while it lasts."""
_HICCUPS = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})
_KEY = re.compile(r"(?:sha256|thumbnail)/../../([0-9a-f]{64})(?:\.webp)?")


def object_key(sha256: str) -> str:
    """Return the key of the original bytes with this hash (hex)."""
    return f"{ORIGINALS}{sha256[:2]}/{sha256[2:4]}/{sha256}"


def thumbnail_key(sha256: str) -> str:
    """Return the key of the thumbnail of the bytes with this hash (hex)."""
    return f"{THUMBNAILS}{sha256[:2]}/{sha256[2:4]}/{sha256}.webp"


def hash_of(key: str) -> str | None:
    """Return the hash in the key of an original or a thumbnail, None if it is no key of ours."""
    match = _KEY.fullmatch(key)
    return match[1] if match and key in (object_key(match[1]), thumbnail_key(match[1])) else None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing shows it: its key, and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object: its size in bytes and its entity tag."""

    size: int
    etag: str


class ObjectStore(Protocol):
    """Bytes by key. `put` is idempotent, `delete` of what is absent is fine.

    Every call raises `StorageUnavailable` when the store can't be reached, refuses us, or does not answer in time.
    """

    async def put(self, key: str, data: BinaryIO, size: int, media_type: str) -> None:
        """Store `size` bytes from the start of `data`; returning means they are stored."""

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object's bytes; raise `ObjectNotFound`, or `ObjectCorrupt` if it is larger than allowed."""

    def stream(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """Yield an object's bytes in chunks, from `offset`, `length` of them; raise `ObjectNotFound` at once."""

    async def find(self, key: str) -> ObjectInfo | None:
        """Return what the store knows of an object, None if it holds no such one."""

    async def list_objects(self, prefix: str, *, after: str = "", limit: int = MAX_LISTED) -> list[ListedObject]:
        """Return up to `limit` objects (at most `MAX_LISTED`) by key, of those that begin with `prefix`.

        Only keys greater than `after` count, which need not be one that exists. Fewer than `limit`: there are no more.
        """

    async def delete(self, key: str) -> None:
        """Remove an object."""

    async def ensure_bucket(self) -> None:
        """Create the bucket if it is not there."""

    async def ping(self) -> None:
        """Make sure that the store answers and has our bucket."""

    async def close(self) -> None:
        """Let go of connections and threads."""


class S3ObjectStore:
    """`ObjectStore` on S3. The client is blocking, so it runs on threads of its own.

    A call's caller waits no longer than `timeout_s`. The thread may be late by one silence of the server, but begins
    nothing more: what it would do then could undo what somebody did meanwhile.
    """

    def __init__(self, settings: S3Settings) -> None:
        address = urlsplit(settings.endpoint)
        self._bucket = settings.bucket
        self._pool = urllib3.PoolManager(
            maxsize=settings.max_connections,
            timeout=urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s),
            retries=urllib3.Retry(total=None, connect=False, read=False, other=False, redirect=2),  # `_persist` tries
        )
        self._client = Minio(
            endpoint=address.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key.get_secret_value(),
            secure=address.scheme == "https",
            region=settings.region,
            http_client=self._pool,
        )
        self._timeout_s = settings.timeout_s
        self._threads = ThreadPoolExecutor(settings.max_connections, thread_name_prefix="s3")
        self._size = settings.max_connections
        THREADS.inc(self._size)

    async def put(self, key: str, data: BinaryIO, size: int, media_type: str) -> None:
        """See `ObjectStore`."""

        def put() -> None:
            data.seek(0)
            self._client.put_object(
                bucket_name=self._bucket, object_name=key, data=data, length=size, content_type=media_type
            )

        await self._run(put)

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """See `ObjectStore`."""
        return await self._run(lambda: self._read(key, max_bytes))

    async def stream(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See `ObjectStore`."""
        if length == 0:  # to the client, 0 means everything
            return
        response = await self._run(
            lambda: self._client.get_object(
                bucket_name=self._bucket, object_name=key, offset=offset, length=length or 0
            )
        )
        try:
            while chunk := await self._run(lambda: _read_within(response, _CHUNK_BYTES, self._timeout_s)):
                yield chunk
        finally:
            # Closing waits for a thread that is still reading, so it must not be done here.
            asyncio.get_running_loop().run_in_executor(None, _let_go, response)

    async def find(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        try:
            found = await self._run(lambda: self._client.stat_object(bucket_name=self._bucket, object_name=key))
        except ObjectNotFound:
            await self.ping()  # a HEAD can't tell a missing object from a missing bucket
            return None
        return ObjectInfo(size=found.size or 0, etag=found.etag or "")

    async def list_objects(self, prefix: str, *, after: str = "", limit: int = MAX_LISTED) -> list[ListedObject]:
        """See `ObjectStore`."""

        def read() -> list[ListedObject]:
            # The client asks for a thousand at once, and for more only if more are taken.
            found = self._client.list_objects(
                bucket_name=self._bucket, prefix=prefix, recursive=True, start_after=after or None
            )
            return [ListedObject(item.object_name, item.size or 0) for item in islice(found, min(limit, MAX_LISTED))]

        return await self._run(read)

    async def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        await self._run(
            lambda: self._client.remove_object(bucket_name=self._bucket, object_name=key),
            timeout_s=min(_DELETE_TIMEOUT_S, self._timeout_s),
        )

    async def ensure_bucket(self) -> None:
        """See `ObjectStore`."""

        def ensure() -> None:
            if self._client.bucket_exists(bucket_name=self._bucket):
                return
            try:
                self._client.make_bucket(bucket_name=self._bucket)
            except S3Error as error:
                if error.code != "BucketAlreadyOwnedByYou":  # another process of ours was faster
                    raise

        await self._run(ensure)

    async def ping(self) -> None:
        """See `ObjectStore`."""
        if not await self._run(lambda: self._client.bucket_exists(bucket_name=self._bucket)):
            raise StorageUnavailable(f"object store: there is no bucket {self._bucket!r}")

    async def close(self) -> None:
        """See `ObjectStore`."""
        await asyncio.to_thread(self._threads.shutdown)
        THREADS.dec(self._size)
        self._size = 0
        self._pool.clear()

    def _read(self, key: str, max_bytes: int) -> bytes:
        response = self._client.get_object(bucket_name=self._bucket, object_name=key)
        try:
            data = _read_within(response, max_bytes + 1, self._timeout_s)
            if len(data) > max_bytes:
                raise ObjectCorrupt(f"object store: {key} is larger than {max_bytes} bytes")
            return data
        finally:
            _let_go(response)

    async def _run(self, call: Callable[[], Answer], *, timeout_s: float | None = None) -> Answer:
        timeout_s = timeout_s or self._timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                with CALLS.track_inprogress():
                    return await asyncio.get_running_loop().run_in_executor(self._threads, _persist, call, deadline)
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchObject", "ResourceNotFound"}:
                raise ObjectNotFound(f"object store: {error.object_name} is not there") from error
            raise StorageUnavailable(f"object store: {error.code}") from error
        except (MinioException, HTTPError, OSError) as error:  # TimeoutError too
            raise StorageUnavailable(f"object store: {type(error).__name__}") from error


def _persist(call: Callable[[], Answer], deadline: float) -> Answer:
    """Make a call; if it fails at once, make it again soon, but never after the deadline. Blocks."""
    for pause in _PAUSES_S:
        try:
            return call()
        except (HTTPError, MinioException) as error:
            if not _is_hiccup(error) or time.monotonic() + pause >= deadline:
                raise
        time.sleep(pause)
    return call()


def _is_hiccup(error: Exception) -> bool:
    """Tell what may be better in a moment. A server that was silent for long is not among it: it has its hands full."""
    match error:
        case S3Error():
            return error.code in _HICCUPS
        case ServerError() | InvalidResponseError():  # an answer of a proxy, most likely
            return True
        case _:
            return isinstance(error, HTTPError) and not isinstance(error, NoAnswer)


def _read_within(response: BaseHTTPResponse, size: int, timeout_s: float) -> bytes:
    """Read up to `size` bytes of a body, fewer at its end alone. A body that drips is given up. Blocks."""
    deadline = time.monotonic() + timeout_s
    data = bytearray()
    while len(data) < size and (piece := response.read1(size - len(data))):
        data += piece
        if time.monotonic() >= deadline:
            raise NoAnswer("the body came too slowly")
    return bytes(data)


def _let_go(response: BaseHTTPResponse) -> None:
    response.close()
    response.release_conn()
