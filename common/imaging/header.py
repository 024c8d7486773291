"""What a file's first bytes say about the image in it. No pixel is decoded and no codec runs."""

from dataclasses import dataclass
from typing import BinaryIO, cast

from PIL import Image

from common.errors import ImageTooLarge, ImageUnreadable, UnsupportedMedia
from common.imaging import bmff, webp
from common.imaging.formats import HEAD_BYTES, ImageFormat, sniff
from common.imaging.frugal import FrugalFile
from common.imaging.opening import open_image
from common.imaging.orientation import read_orientation, swaps_sides
from common.imaging.policy import SizePolicy, check_size


@dataclass(frozen=True, slots=True)
class Header:
    """An image as its header declares it.

    Attributes:
        format: told by content, never by name.
        width: pixels across, as displayed.
        height: pixels down, as displayed.
    """

    format: ImageFormat
    width: int
    height: int

    @property
    def media_type(self) -> str:
        """The media type to store and serve the file with."""
        return self.format.media_type


def read_header(file: BinaryIO, policy: SizePolicy) -> Header:
    """Read a seekable file's header and hold it against the policy.

    Width and height are those of the upright picture wherever its orientation stands in front of the pixels (JPEG,
    HEIC, AVIF, TIFF, most PNG; WebP keeps it behind them, so there they are the stored ones). `decode` has the
    last word on both.

    Raises:
        UnsupportedMedia: not one of the supported formats.
        ImageTooLarge: `image_too_many_pixels` or `image_side_too_long`.
        ImageUnreadable: `empty_file`, or `image_header_corrupt`.
        OSError: the file itself can't be read.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not head:
        raise ImageUnreadable("the file is empty", code="empty_file")
    format_ = sniff(head)
    if format_ is None:
        raise UnsupportedMedia(f"not one of the supported formats ({', '.join(ImageFormat)})")
    file.seek(0)
    width, height = _read_size(file, format_)
    check_size(width, height, policy)
    return Header(format_, width, height)


def _read_size(file: BinaryIO, format_: ImageFormat) -> tuple[int, int]:
    try:
        match format_:
            case ImageFormat.WEBP:
                width, height = webp.read_size(file)
            case ImageFormat.AVIF | ImageFormat.HEIC:
                width, height = bmff.read_size(file)
            case _:
                width, height = _read_size_with_pillow(file, format_)
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a GIF's frame may outgrow it
        raise ImageTooLarge("the image has too many pixels", code="image_too_many_pixels") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the image
            raise
        raise ImageUnreadable("the image's header can't be read", code="image_header_corrupt") from error
    if width < 1 or height < 1:
        raise ImageUnreadable(f"the header declares {width} x {height} pixels", code="image_header_corrupt")
    return width, height


def _read_size_with_pillow(file: BinaryIO, format_: ImageFormat) -> tuple[int, int]:
    """For the formats whose headers Pillow parses in Python, without the codec."""
    image = open_image(cast(BinaryIO, FrugalFile(file)), format_)
    width, height = image.size
    # Pillow's TIFF reader reports the upright size by itself.
    if format_ is not ImageFormat.TIFF and swaps_sides(read_orientation(image)):
        return height, width
    return width, height
