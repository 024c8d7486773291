"""The displayed size of the primary image in an AVIF or HEIC file, without libavif or libheif.

Both are ISO base media files: boxes within boxes (ISO/IEC 14496-12 §4.2). The `meta` box names the primary item and
lists the properties of each item (ISO/IEC 23008-12 §6.5 and §9.3): `ispe` is its size, `clap` a crop, `irot` a turn.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_MAX_TOP_LEVEL_BOXES = 64
_MAX_META_BYTES = 1024 * 1024

# An encoder pads to its block size and crops the padding off again; a larger crop hides pixels that get decoded.
_LARGEST_PADDING = 63


class _Box(NamedTuple):
    kind: bytes
    content: bytes


def read_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in pixels: turned as displayed; an encoder's padding is left out, other crops are not.

    Raises:
        ValueError: the boxes make no sense.
    """
    properties = _primary_properties(_read_meta(file))
    width, height = _coded_size(properties)
    for kind, content in properties:
        if kind == b"clap":
            width, height = _without_padding(width, height, content)
        elif kind == b"irot" and content[0] & 1:  # counted in quarter turns
            width, height = height, width
    return width, height


def declared_length(data: bytes) -> int:
    """How many bytes the file says it has, as far as its boxes can be followed."""
    at = 0
    while at < len(data):
        try:
            size, _ = _box_extent(data[at : at + 16])
        except ValueError:
            break
        at += size
    return at


def _read_meta(file: BinaryIO) -> list[_Box]:
    """The boxes within the first `meta` box; whatever stands before it is skipped unread."""
    for _ in range(_MAX_TOP_LEVEL_BOXES):
        header = file.read(16)
        size, content_at = _box_extent(header)
        if header[4:8] == b"meta":
            if not content_at < size <= _MAX_META_BYTES:
                raise ValueError(f"a meta box of {size} bytes")
            file.seek(content_at - len(header), 1)
            return list(_boxes(file.read(size - content_at)[4:]))  # behind its version and flags
        file.seek(size - len(header), 1)
    raise ValueError("no meta box among the first boxes")


def _box_extent(header: bytes) -> tuple[int, int]:
    """Size of a box, and where in it its content starts."""
    size, content_at = _number(header, 0, 4), 8
    if size == 1:
        size, content_at = _number(header, 8, 8), 16
    if size < content_at:  # 0 means "to the end of the file", which nothing we look for may claim
        raise ValueError(f"a box of {size} bytes")
    return size, content_at


def _boxes(data: bytes) -> Iterator[_Box]:
    at = 0
    while at < len(data):
        size, content_at = _box_extent(data[at : at + 16])
        if at + size > len(data):
            raise ValueError("a box reaches beyond the one around it")
        yield _Box(data[at + 4 : at + 8], data[at + content_at : at + size])
        at += size


def _primary_properties(meta: list[_Box]) -> list[_Box]:
    """The primary item's properties, in the order they apply."""
    pitm = _only(meta, b"pitm")
    primary = _number(pitm, 4, 2 if pitm[0] == 0 else 4)
    iprp = list(_boxes(_only(meta, b"iprp")))
    available = list(_boxes(_only(iprp, b"ipco")))
    indexes = _associations(_only(iprp, b"ipma"), primary)
    return [available[index - 1] for index in indexes if 0 < index <= len(available)]


def _associations(ipma: bytes, item: int) -> list[int]:
    """The 1-based property indexes of one item."""
    id_bytes = 2 if ipma[0] == 0 else 4
    index_bytes = 2 if ipma[3] & 1 else 1
    mask = 0x7FFF if index_bytes == 2 else 0x7F  # the highest bit says "essential"
    at = 8
    for _ in range(_number(ipma, 4, 4)):
        entry, count = _number(ipma, at, id_bytes), _number(ipma, at + id_bytes, 1)
        at += id_bytes + 1
        if entry == item:
            return [_number(ipma, at + index_bytes * i, index_bytes) & mask for i in range(count)]
        at += index_bytes * count
    raise ValueError("the primary image has no properties")


def _coded_size(properties: list[_Box]) -> tuple[int, int]:
    ispe = _only(properties, b"ispe")
    return _number(ispe, 4, 4), _number(ispe, 8, 4)


def _without_padding(width: int, height: int, clap: bytes) -> tuple[int, int]:
    """Apply a clean aperture (width and height, each a fraction) that only cuts an encoder's padding off."""
    cropped_width = _number(clap, 0, 4) // max(1, _number(clap, 4, 4))
    cropped_height = _number(clap, 8, 4) // max(1, _number(clap, 12, 4))
    if 0 <= width - cropped_width <= _LARGEST_PADDING and 0 <= height - cropped_height <= _LARGEST_PADDING:
        return cropped_width, cropped_height
    return width, height


def _only(boxes: list[_Box], kind: bytes) -> bytes:
    for box in boxes:
        if box.kind == kind:
            return box.content
    raise ValueError(f"no {kind.decode()} box")


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ValueError("a box is cut off")
    return int.from_bytes(data[at : at + size], "big")
