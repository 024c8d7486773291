import pytest

from common.imaging import HEAD_BYTES, ImageFormat, sniff
from tests.fixtures import pictures


@pytest.mark.parametrize("format_", ImageFormat)
def test_every_format_is_told_by_its_first_bytes(format_: ImageFormat) -> None:
    assert sniff(pictures.valid()[format_][:HEAD_BYTES]) is format_


@pytest.mark.parametrize(
    ("head", "format_"),
    [
        (b"II*\0\x08\0\0\0", ImageFormat.TIFF),
        (b"MM\0*\0\0\0\x08", ImageFormat.TIFF),
        (b"II+\0\x08\0\0\0", ImageFormat.TIFF),
        (b"MM\0+\0\x08\0\0", ImageFormat.TIFF),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", ImageFormat.HEIC),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ImageFormat.HEIC),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", ImageFormat.AVIF),
        (b"\0\0\0\x14ftypavis\0\0\0\0msf1", ImageFormat.AVIF),
        (b"GIF87a", ImageFormat.GIF),
        (b"RIFF\0\0\0\0WEBPVP8L", ImageFormat.WEBP),
    ],
)
def test_variants(head: bytes, format_: ImageFormat) -> None:
    assert sniff(head) is format_


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0",
        b"BM is how this text begins, and no bitmap",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"%PDF-1.7",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"\0\0\0\x14ftypmif1\0\0\0\0mif1" + b"heic",  # behind the box, so no brand
        b"\xff\xd8",
    ],
)
def test_anything_else_is_no_image(head: bytes) -> None:
    assert sniff(head) is None


def test_media_types() -> None:
    assert ImageFormat.JPEG.media_type == "image/jpeg"
    assert ImageFormat.HEIC.media_type == "image/heic"
