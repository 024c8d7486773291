"""The object store: bytes by content-addressed key, through anything that speaks S3."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from common.errors import ObjectNotFound, StorageUnavailable
from common.settings import S3Settings

Params = ParamSpec("Params")
Answer = TypeVar("Answer")

ORIGINALS = "sha256/"
"""What the keys of all originals begin with."""
THUMBNAILS = "thumbnail/"
"""What the keys of all thumbnails begin with."""

MAX_LISTED = 1000
"""Keys of one listing at most: what a server puts into one answer."""

_CHUNK_BYTES = 256 * 1024
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
        """Return an object's bytes; raise `ObjectNotFound`, or `StorageUnavailable` if it is larger than allowed."""

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
    """`ObjectStore` on S3. The client is blocking, so it runs on threads of its own, each call under deadlines."""

    def __init__(self, settings: S3Settings) -> None:
        address = urlsplit(settings.endpoint)
        self._bucket = settings.bucket
        self._pool = urllib3.PoolManager(
            maxsize=settings.max_connections,
            timeout=urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s),
            retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        )
        self._client = Minio(
            endpoint=address.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key.get_secret_value(),
            secure=address.scheme == "https",
            region=settings.region,
            http_client=self._pool,
        )
        self._threads = ThreadPoolExecutor(settings.max_connections, thread_name_prefix="s3")

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
        return await self._run(self._read, key, max_bytes)

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
            while chunk := await self._run(response.read, _CHUNK_BYTES):
                yield chunk
        finally:
            response.close()
            response.release_conn()

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
        await self._run(lambda: self._client.remove_object(bucket_name=self._bucket, object_name=key))

    async def ensure_bucket(self) -> None:
        """See `ObjectStore`."""

        def ensure() -> None:
            if not self._client.bucket_exists(bucket_name=self._bucket):
                self._client.make_bucket(bucket_name=self._bucket)

        await self._run(ensure)

    async def ping(self) -> None:
        """See `ObjectStore`."""
        if not await self._run(lambda: self._client.bucket_exists(bucket_name=self._bucket)):
            raise StorageUnavailable(f"object store: there is no bucket {self._bucket!r}")

    async def close(self) -> None:
        """See `ObjectStore`."""
        await asyncio.to_thread(self._threads.shutdown)
        self._pool.clear()

    def _read(self, key: str, max_bytes: int) -> bytes:
        response = self._client.get_object(bucket_name=self._bucket, object_name=key)
        try:
            data: bytes = response.read(max_bytes + 1)
            if len(data) > max_bytes:
                raise StorageUnavailable(f"object store: {key} is larger than {max_bytes} bytes")
            return data
        finally:
            response.close()
            response.release_conn()

    async def _run(self, call: Callable[Params, Answer], *args: Params.args, **kwargs: Params.kwargs) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchObject", "ResourceNotFound"}:
                raise ObjectNotFound(f"object store: {error.object_name} is not there") from error
            raise StorageUnavailable(f"object store: {error.code}") from error
        except (MinioException, HTTPError, OSError) as error:
            raise StorageUnavailable(f"object store: {type(error).__name__}") from error
