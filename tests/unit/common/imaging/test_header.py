import struct
from io import BytesIO

import pytest
from PIL import Image

from common.errors import ImageRejected, ImageTooLarge, ImageUnreadable
from common.imaging import ImageFormat, decode, read_header
from common.settings import ImagePolicy
from tests.fixtures import pictures

POLICY = ImagePolicy()
HEADER_CODES = {
    "empty_file",
    "unsupported_media",
    "image_side_too_long",
    "image_too_many_pixels",
    "image_header_corrupt",
}


class CountingFile(BytesIO):
    """Remembers how much was read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.given += len(data)
        return data


@pytest.mark.parametrize("format_", ImageFormat)
@pytest.mark.parametrize("size", [(1, 1), (31, 17), (64, 64), (300, 200)])
def test_format_and_size(format_: ImageFormat, size: tuple[int, int]) -> None:
    header = read_header(BytesIO(pictures.encode(pictures.picture(*size), format_)), POLICY)

    assert (header.format, header.width, header.height) == (format_, *size)
    assert header.media_type == format_.media_type


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
def test_all_webp_bitstreams(options: dict[str, object]) -> None:
    data = pictures.encode(pictures.picture(31, 17), ImageFormat.WEBP, **options)

    header = read_header(BytesIO(data), POLICY)

    assert (header.width, header.height) == (31, 17)


@pytest.mark.parametrize("format_", [format_ for format_ in pictures.ORIENTABLE if format_ is not ImageFormat.WEBP])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_the_displayed_one(format_: ImageFormat, orientation: int) -> None:
    data = pictures.oriented(pictures.picture(96, 64), format_, orientation)

    header = read_header(BytesIO(data), POLICY)

    assert (header.width, header.height) == (96, 64) == decode(data, POLICY).size


@pytest.mark.parametrize("name", [name for name, (_, code) in pictures.hostile().items() if code in HEADER_CODES])
def test_hostile_files_are_refused_by_their_header(name: str) -> None:
    data, code = pictures.hostile()[name]

    with pytest.raises(ImageRejected) as refusal:
        read_header(BytesIO(data), POLICY)

    assert refusal.value.code == code


def test_the_policy_rules_not_pillows_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = pictures.png_bomb(400, 300)

    assert read_header(BytesIO(data), POLICY).width == 400
    with pytest.raises(ImageTooLarge) as refusal:
        read_header(BytesIO(data), ImagePolicy(max_pixels=119_999))
    assert refusal.value.code == "image_too_many_pixels"


def test_limits_are_inclusive() -> None:
    data = pictures.png_bomb(400, 300)

    assert read_header(BytesIO(data), ImagePolicy(max_pixels=120_000, max_side=400)).height == 300


def test_heic_crop_does_not_hide_a_huge_picture() -> None:
    """The codec would decode all of it before it crops."""
    data = bytearray(pictures.encode(pictures.picture(31, 17), ImageFormat.HEIC))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">2I", 16_000, 16_000)

    with pytest.raises(ImageTooLarge):
        read_header(BytesIO(data), POLICY)


@pytest.mark.parametrize("format_", ImageFormat)
def test_little_is_read_of_a_long_file(format_: ImageFormat) -> None:
    data = pictures.valid()[format_]
    file = CountingFile(data + bytes(10_000_000))

    read_header(file, POLICY)

    assert file.given < len(data) + 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\0\x02" * 1_000_000,
        b"GIF89a" + bytes(7) + b"!\xfe" + b"\x01x" * 1_000_000,
        b"\x89PNG\r\n\x1a\n" + pictures.png_chunk(b"tEXt", b"k\0v") * 300_000,
        struct.pack(">I4s4sI", 16, b"ftyp", b"heic", 0) + struct.pack(">I4s", 8, b"free") * 1_000_000,
    ],
    ids=["jpeg", "gif", "png", "heic"],
)
def test_an_endless_header_is_given_up(data: bytes) -> None:
    file = CountingFile(data)

    with pytest.raises(ImageUnreadable) as refusal:
        read_header(file, POLICY)

    assert refusal.value.code == "image_header_corrupt"
    assert file.given < len(data) / 2


def test_an_unreadable_disk_is_not_the_images_fault() -> None:
    class BrokenDisk(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read(size)

    file = BrokenDisk(pictures.valid()[ImageFormat.JPEG])

    with pytest.raises(OSError, match="Input/output error"):
        read_header(file, POLICY)
