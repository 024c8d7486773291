"""Any Pillow mode made into RGB, 8 bits a channel, the way a viewer would show it on a white page.

An RGB or grey image without transparency becomes exactly `image.convert("RGB")`, which is what open_clip was trained
on; embedded RGB profiles are ignored for the same reason.
"""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_UNBOUNDED = ("I", "F")
_FLOAT_LIMIT = 1e37  # twice as much is still a float32


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode; transparent parts become white."""
    if image.mode in _SIXTEEN_BIT:
        image = _from_sixteen_bits(image)
    elif image.mode in _UNBOUNDED:
        image = _stretch(image)
    elif image.mode == "CMYK":
        return _from_cmyk(image)
    if image.has_transparency_data:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(rgba, mask=rgba)
    return page


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Keep the higher byte, as Pillow does for 16-bit colour. For grey it would cut everything above 255 off."""
    wide = np.asarray(image)
    grey = (wide >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[wide == transparent] = 255
    return Image.fromarray(grey)


def _stretch(image: Image.Image) -> Image.Image:
    """Scale 32-bit integers or floats, which declare no range, from their own least and greatest value to 0-255."""
    wide = np.array(image, dtype=np.float32)
    np.nan_to_num(wide, copy=False)
    np.clip(wide, -_FLOAT_LIMIT, _FLOAT_LIMIT, out=wide)
    low, high = float(wide.min()), float(wide.max())
    wide -= low
    wide *= 255 / (high - low) if high > low else 0
    return Image.fromarray(np.rint(wide, out=wide).astype(np.uint8))


def _from_cmyk(image: Image.Image) -> Image.Image:
    """By the embedded profile where it is valid and one for CMYK, else by Pillow's plain formula."""
    embedded = image.info.get("icc_profile")
    if embedded:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(embedded))
            converted = ImageCms.profileToProfile(
                image,
                profile,
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB")
        if converted is not None:
            return converted
    return image.convert("RGB")
