"""The image formats Likeness takes in, told apart by their first bytes alone."""

from enum import StrEnum

HEAD_BYTES = 128
"""How much of a file's start `sniff` wants to see; fewer bytes are fine when the file has no more."""

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
)
_WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X")
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})


class ImageFormat(StrEnum):
    """A supported format. Whatever is not here (SVG, EPS, PDF, …) is refused."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    AVIF = "avif"
    HEIC = "heic"
    TIFF = "tiff"
    BMP = "bmp"

    @property
    def media_type(self) -> str:
        """The registered media type, e.g. `image/jpeg`."""
        return f"image/{self.value}"


def sniff(head: bytes) -> ImageFormat | None:
    """Tell the format of a file by its first `HEAD_BYTES` bytes; its name and declared type count for nothing."""
    for prefix, name in _PREFIXES:
        if head.startswith(prefix):
            return ImageFormat(name)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and head[12:16] in _WEBP_CHUNKS:
        return ImageFormat.WEBP
    # "BM" alone would take many a text for a picture.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return ImageFormat.BMP
    if head[4:8] == b"ftyp":
        return _sniff_brands(head)
    return None


def _sniff_brands(head: bytes) -> ImageFormat | None:
    """AVIF and HEIC share one container; the major brand decides, then the first telling compatible brand."""
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return ImageFormat.AVIF
        if brand in _HEIC_BRANDS:
            return ImageFormat.HEIC
    return None
