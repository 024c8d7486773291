"""Object keys: made of the content's hash alone, spread over folders, originals and thumbnails apart."""

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from common.storage import object_key, thumbnail_key

HASHES = st.binary(max_size=8).map(lambda data: sha256(data).hexdigest())


def test_keys_are_spelled_as_the_design_says() -> None:
    digest = "abcd" + "0" * 60
    assert object_key(digest) == f"sha256/ab/cd/{digest}"
    assert thumbnail_key(digest) == f"thumbnail/ab/cd/{digest}.webp"


@settings(derandomize=True)
@given(one=HASHES, other=HASHES)
def test_other_bytes_have_other_keys(one: str, other: str) -> None:
    keys = {make(digest) for make in (object_key, thumbnail_key) for digest in (one, other)}
    assert len(keys) == 2 * len({one, other})
