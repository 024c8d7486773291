"""The canvas size and the length of a WebP file (RFC 9649, sections 2.4-2.7), without libwebp."""

from typing import BinaryIO


def read_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in pixels, as stored.

    Raises:
        ValueError: no WebP header.
    """
    head = file.read(30)
    if len(head) < 30:
        raise ValueError("the WebP header is cut off")
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    raise ValueError("no WebP bitstream header")


def declared_length(data: bytes) -> int:
    """How many bytes the file says it has."""
    return 8 + int.from_bytes(data[4:8], "little")
