"""A file as it comes in: hashed on the way, spooled to an unnamed temporary file, bounded, then told by its header."""

import hashlib
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Self, cast

from common.errors import ImageTooLarge
from common.imaging import Header, read_header
from common.settings import ImagePolicy

_SPOOL_BYTES = 256 * 1024
_MAX_FILENAME_CHARS = 255


@dataclass(slots=True)
class ReceivedFile:
    """A file that comes in; its content is gone when it is closed. Its methods block and belong on a thread."""

    filename: str
    content: BinaryIO
    size: int = 0
    """Bytes received, counted past the limit too."""
    sha256: str = ""
    """Hex; known once the file is finished."""
    too_large: bool = False
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256, repr=False)

    @classmethod
    def open(cls, filename: str) -> Self:
        """Begin a file: in memory while it is small, then on disk."""
        return cls(filename, cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)))

    def write(self, piece: bytes | memoryview, max_bytes: int) -> None:
        """Take in a piece; of a file larger than `max_bytes` nothing is kept. Raises `OSError`."""
        self.size += len(piece)
        if self.size > max_bytes:
            self.too_large = True
            self.content.truncate(0)
            return
        self._hash.update(piece)
        self.content.write(piece)

    def finish(self) -> None:
        """Note that this was all; a full disk shows here (`OSError`), not when the file is read."""
        self.content.flush()
        self.sha256 = self._hash.hexdigest()

    def close(self) -> None:
        """Forget the content; what a full disk did not take of an unnamed file is no loss."""
        with suppress(OSError):
            self.content.close()


def screen(file: ReceivedFile, policy: ImagePolicy) -> Header:
    """Tell an image within the limits by its first bytes and header; blocks, decodes no pixels.

    Raises:
        ImageTooLarge: it has too many bytes (`file_too_large`) or pixels.
        UnsupportedMedia, ImageUnreadable: it is no image, or a broken one; see `read_header`.
    """
    if file.too_large:
        raise ImageTooLarge(f"a file may have {policy.max_file_bytes} bytes", code="file_too_large")
    file.content.seek(0)
    return read_header(file.content, policy)


def clean_filename(raw: bytes) -> str:
    """Keep a file's own name, without folders and control characters; it is shown, never used as a path."""
    name = raw.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(char for char in name if char.isprintable())[:_MAX_FILENAME_CHARS] or "unnamed"
