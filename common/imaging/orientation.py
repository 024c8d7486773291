"""Upright pictures: EXIF orientation (TIFF tag 274, EXIF 2.32 §4.6.4), read leniently and applied."""

import struct

from PIL import ExifTags, Image

_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(image: Image.Image) -> int:
    """The orientation, 1-8, as far as `image.info` knows it; 1 where the metadata is missing or broken.

    A picture with broken metadata is still a picture, so this never raises on account of the file.
    """
    try:
        # The base class's method: PNG's own would decode all pixels to look for metadata behind them.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except (ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1
    return value if isinstance(value, int) and value in _TO_UPRIGHT else 1


def swaps_sides(orientation: int) -> bool:
    """Whether turning the picture upright exchanges width and height."""
    return orientation >= 5


def upright(image: Image.Image) -> Image.Image:
    """The loaded image as it is meant to be seen."""
    method = _TO_UPRIGHT.get(read_orientation(image))
    return image if method is None else image.transpose(method)
