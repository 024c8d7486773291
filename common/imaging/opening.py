"""Pillow's readers, opened by class: exactly the sniffed one, no registry, no global state.

`Image.open(formats=…)` would import every plugin there is, want pillow_heif registered process-wide, and apply
Pillow's own size limit, where the policy alone rules.
"""

from typing import BinaryIO

from PIL import ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from common.imaging.formats import ImageFormat

_READERS: dict[ImageFormat, type[ImageFile.ImageFile]] = {
    ImageFormat.JPEG: JpegImageFile,
    ImageFormat.PNG: PngImageFile,
    ImageFormat.WEBP: WebPImageFile,
    ImageFormat.GIF: GifImageFile,
    ImageFormat.AVIF: AvifImageFile,
    ImageFormat.HEIC: HeifImageFile,
    ImageFormat.TIFF: TiffImageFile,
    ImageFormat.BMP: BmpImageFile,
}


def open_image(file: BinaryIO, format_: ImageFormat) -> ImageFile.ImageFile:
    """Open an image lazily; pixels are decoded by `load()`. Raises whatever Pillow raises on a malformed file.

    For JPEG, PNG, GIF, TIFF and BMP this parses the header in Python; for WebP, AVIF and HEIC it reads the whole file
    and hands it to the codec's library.
    """
    return _READERS[format_](file)
