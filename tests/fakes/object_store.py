"""An object store in memory, with the outages a test wants."""

import hashlib
from collections.abc import AsyncGenerator, Callable
from typing import BinaryIO

from common.errors import ObjectCorrupt, ObjectNotFound, StorageUnavailable
from common.storage import MAX_LISTED, ListedObject, ObjectInfo


class MemoryObjectStore:
    """`ObjectStore` for unit tests; `tests/contracts/test_object_store.py` holds it against a real one.

    Set `down` to have every call fail, or `fails` to choose by key.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.down = False
        self.fails: Callable[[str], bool] = lambda _: False

    async def put(self, key: str, data: BinaryIO, size: int, media_type: str) -> None:
        """See `ObjectStore`."""
        self._answer(key)
        data.seek(0)
        content = data.read(size)
        if len(content) != size or not media_type:
            raise StorageUnavailable("object store: the data ended too early")
        self.objects[key] = content

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """See `ObjectStore`."""
        data = self._load(key)
        if len(data) > max_bytes:
            raise ObjectCorrupt(f"object store: {key} is larger than {max_bytes} bytes")
        return data

    async def stream(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See `ObjectStore`."""
        data = self._load(key)
        wanted = data[offset:] if length is None else data[offset : offset + length]
        for start in range(0, len(wanted), 1024):
            yield wanted[start : start + 1024]

    async def find(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        self._answer(key)
        data = self.objects.get(key)
        if data is None:
            return None
        return ObjectInfo(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())

    async def list_objects(self, prefix: str, *, after: str = "", limit: int = MAX_LISTED) -> list[ListedObject]:
        """See `ObjectStore`."""
        self._answer(prefix)
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        return [ListedObject(key, len(self.objects[key])) for key in keys[: min(limit, MAX_LISTED)]]

    async def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        self._answer(key)
        self.objects.pop(key, None)

    async def ensure_bucket(self) -> None:
        """See `ObjectStore`."""
        self._answer("")

    async def ping(self) -> None:
        """See `ObjectStore`."""
        self._answer("")

    async def close(self) -> None:
        """See `ObjectStore`."""

    def _load(self, key: str) -> bytes:
        self._answer(key)
        if key not in self.objects:
            raise ObjectNotFound(f"object store: {key} is not there")
        return self.objects[key]

    def _answer(self, key: str) -> None:
        if self.down or self.fails(key):
            raise StorageUnavailable("object store: it is down")
