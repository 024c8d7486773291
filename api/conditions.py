"""Which bytes a request needs, and whether any: RFC 9110, sections 13 (conditions) and 14 (ranges). Pure."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request says about the bytes it wants; `etag`s given to it are strong, quotes included."""

    method: str = "GET"
    if_none_match: str | None = None
    if_range: str | None = None
    asked_range: str | None = None

    def has_it_already(self, etag: str) -> bool:
        """Tell whether the client holds this very version: 304."""
        if self.if_none_match is None:
            return False
        given = {tag.strip().removeprefix("W/") for tag in self.if_none_match.split(",")}
        return "*" in given or etag in given

    def wanted(self, etag: str, size: int) -> range | None:
        """Return the range asked for: None to answer everything, an empty one if it can't be met (416).

        A range is asked of GET alone, and with `If-Range` only of the version named there. None other than its strong
        tag names it: a weak one may stand for other bytes, and a date for nothing, as no answer of ours has one.
        """
        if self.method != "GET" or self.if_range not in {None, etag}:
            return None
        return parse_range(self.asked_range, size)


def parse_range(header: str | None, size: int) -> range | None:
    """Read a `Range` header (RFC 9110, 14.2): None to answer everything, an empty range if it can't be met."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return None  # several ranges, or another unit: the standard lets us ignore them
    first, last = match.groups()
    if first == "":
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None  # an invalid range is to be ignored
    start, stop = int(first), min(size, int(last) + 1 if last else size)
    return range(start, stop) if start < stop else range(0)


async def _read(
    request: Request,
    if_none_match: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Conditions:
    return Conditions(request.method, if_none_match, if_range and if_range.strip(), range_)


ConditionsDep = Annotated[Conditions, Depends(_read)]
