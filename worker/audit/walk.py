"""Walking over what is read page by page in order; whole, or a stretch of it as a sample."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

Item = TypeVar("Item")
Position = TypeVar("Position", bound=Any)  # whatever can be compared

PAGE = 1000
"""Items of a page at most."""

Read = Callable[[Position | None, int], Awaitable[list[Item]]]
"""Reads up to so many items in the order of their positions, of those after a position."""


async def walk(
    read: Read[Position, Item],
    position: Callable[[Item], Position],
    *,
    start: Position | None = None,
    limit: int | None = None,
) -> AsyncIterator[list[Item]]:
    """Yield pages of items, none twice: all of them, or `limit` from `start` on, round past the end.

    Hashes and ids are random. So a stretch from a random start is a fair sample, and far cheaper to read than as many
    single items.
    """
    left = limit
    stretches = [(None, None)] if start is None else [(start, None), (None, start)]
    for begin, end in stretches:
        after = begin
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            found = await read(after, size)
            items = found if end is None else [item for item in found if position(item) <= end]
            if items:
                yield items
            left = None if left is None else left - len(items)
            if len(items) < size:
                break
            after = position(items[-1])
