"""Images: which are accepted, what their headers say, and how they become a model's input and a thumbnail.

`sniff` and `read_header` are safe on hostile bytes in any process: they decode no pixel and hand no byte to a codec.
`decode` runs codecs written in C; workers call it in sandboxed children alone (`worker/decode_pool.py`).
"""

from common.imaging.decode import decode
from common.imaging.formats import HEAD_BYTES, ImageFormat, sniff
from common.imaging.header import Header, read_header
from common.imaging.perceptual import HASH_BITS, HASH_VERSION, perceptual_hash
from common.imaging.policy import SizePolicy
from common.imaging.resize import PREPROCESS_VERSION, Preprocess, model_pixels
from common.imaging.thumbnail import THUMBNAIL_MEDIA_TYPE, THUMBNAIL_SIDE, shrink, thumbnail

__all__ = [
    "HASH_BITS",
    "HASH_VERSION",
    "HEAD_BYTES",
    "PREPROCESS_VERSION",
    "THUMBNAIL_MEDIA_TYPE",
    "THUMBNAIL_SIDE",
    "Header",
    "ImageFormat",
    "Preprocess",
    "SizePolicy",
    "decode",
    "model_pixels",
    "perceptual_hash",
    "read_header",
    "shrink",
    "sniff",
    "thumbnail",
]
