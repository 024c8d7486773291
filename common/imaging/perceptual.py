"""The perceptual hash: 64 bits that hardly change when a picture is encoded anew, resized or brightened.

Source: C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2: which of
the lowest frequencies of the picture's cosine transform are above their median.
"""

import numpy as np
from PIL import Image

HASH_VERSION = 1
"""Raise it whenever the same bytes may give another hash; those that are kept are made anew then."""
HASH_BITS = 64

_SIDE = 32
_FREQUENCIES = 8
_LEAST_CONTRAST = 2.0
"""Below this standard deviation, of 255 grey levels, there is nothing to see: the bits would be those of noise."""

# Rows 1 to 8 of the DCT-II of 32 numbers. Row 0 is the mean, which would tell how bright a picture is.
_DCT = np.cos(np.pi / _SIDE * np.arange(1, _FREQUENCIES + 1)[:, None] * (np.arange(_SIDE)[None, :] + 0.5))


def perceptual_hash(small: Image.Image) -> int | None:
    """Return the hash of a picture, 0 to 2**64 - 1; None: there is too little to see to know it again.

    `small` is RGB and of the size of a thumbnail, as `shrink` makes it: all sizes of a picture go the same way.
    """
    square = small.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(square, dtype=np.float64)
    if grey.std() < _LEAST_CONTRAST:
        return None
    low = _DCT @ grey @ _DCT.T
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")
