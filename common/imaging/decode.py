"""Bytes into pixels. Runs codecs written in C on whatever somebody uploaded."""

from io import BytesIO

from PIL import Image

from common.errors import ImageRejected, ImageUnreadable
from common.imaging import bmff, webp
from common.imaging.colour import to_rgb
from common.imaging.formats import ImageFormat
from common.imaging.header import read_header
from common.imaging.opening import open_image
from common.imaging.orientation import upright
from common.imaging.policy import SizePolicy, check_size

_TRUNCATED = ("truncated", "end of file", "end of data", "not enough data")


def decode(data: bytes, policy: SizePolicy) -> Image.Image:
    """Decode an image's first frame, upright, as RGB with 8 bits a channel; transparency becomes white.

    Raises:
        UnsupportedMedia: not one of the supported formats.
        ImageTooLarge: by the header, or by what the codec found.
        ImageUnreadable: `empty_file`, `image_header_corrupt`, `image_truncated` or `image_corrupt`.
        MemoryError: the process may not have as much memory as this image takes.
    """
    header = read_header(BytesIO(data), policy)
    try:
        image = open_image(BytesIO(data), header.format)
        check_size(*image.size, policy)  # what the codec is about to allocate, whatever the header said
        image.load()
        return to_rgb(upright(image))
    except (ImageRejected, MemoryError):
        raise
    except Exception as error:
        raise _unreadable(error, cut_off=_is_cut_off(data, header.format)) from error


def _is_cut_off(data: bytes, format_: ImageFormat) -> bool:
    """Whether a file is shorter than it says, for the formats whose codecs do not tell."""
    if format_ is ImageFormat.WEBP:
        return webp.declared_length(data) > len(data)
    if format_ in (ImageFormat.AVIF, ImageFormat.HEIC):
        return bmff.declared_length(data) > len(data)
    return False


def _unreadable(error: Exception, *, cut_off: bool) -> ImageUnreadable:
    """Name the failure. Pillow tells a file that is cut off from one that is broken in its messages alone."""
    message = str(error)
    if cut_off or isinstance(error, EOFError) or any(words in message.lower() for words in _TRUNCATED):
        return ImageUnreadable("the image is cut off", code="image_truncated")
    return ImageUnreadable(f"the image can't be decoded: {message[:200] or type(error).__name__}", code="image_corrupt")
