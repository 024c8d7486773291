"""A file that may be read only so much: parsing a hostile header must come to an end, and soon."""

from io import SEEK_SET
from typing import BinaryIO

_MAX_BYTES = 16 * 1024 * 1024
_MAX_READS = 20_000


class HeaderTooLong(ValueError):
    """The header takes more reading than any honest one."""


class FrugalFile:
    """A read-only view of a file that gives out at most 16 MiB in at most 20,000 reads.

    Real headers stay far below: the longest hold colour profiles and embedded previews of some megabytes. Pillow
    walks a header of millions of tiny segments to its end, which takes seconds.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes_left = _MAX_BYTES
        self._reads_left = _MAX_READS

    def read(self, size: int = -1, /) -> bytes:
        """Like any file's; raises `HeaderTooLong` when the budget is spent."""
        self._reads_left -= 1
        if self._reads_left < 0 or self._bytes_left <= 0:
            raise HeaderTooLong("the header has no end")
        data = self._file.read(self._bytes_left if size < 0 else min(size, self._bytes_left))
        self._bytes_left -= len(data)
        return data

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Like any file's."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Like any file's."""
        return self._file.tell()
