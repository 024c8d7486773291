"""A bounded cache in this process: what was used least lately goes first."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """At most so many entries, each for so long."""

    def __init__(self, most: int, *, ttl_s: float = float("inf"), clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty cache.

        Args:
            most: entries it may hold; with 0 it keeps nothing.
            ttl_s: seconds after which an entry counts no more.
            clock: tells the time, in seconds.
        """
        self._most = most
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key) -> Value | None:
        """Return what is kept under the key, if it still counts."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        kept_at, value = entry
        if self._clock() - kept_at >= self._ttl_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value; the entry that was used least lately makes room for it."""
        self._entries[key] = (self._clock(), value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
