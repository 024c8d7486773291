"""Object keys: made of the content's hash alone, spread over folders, originals and thumbnails apart."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.storage import hash_of, object_key, thumbnail_key

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


@settings(derandomize=True)
@given(digest=HASHES)
def test_a_key_tells_its_hash(digest: str) -> None:
    assert hash_of(object_key(digest)) == hash_of(thumbnail_key(digest)) == digest


@pytest.mark.parametrize(
    "key",
    [
        "sha256/ab/cd/" + "0" * 64,
        "sha256/ab/cd/abcd",
        "thumbnail/ab/cd/abcd" + "0" * 60,
        "sha256/ab/cd/abcd" + "0" * 60 + ".webp",
        "sha256/AB/CD/ABCD" + "0" * 60,
        "backup.tar",
    ],
    ids=["in another folder", "too short", "thumbnail without its ending", "original with one", "capitals", "not ours"],
)
def test_what_is_no_key_of_ours_has_no_hash(key: str) -> None:
    assert hash_of(key) is None
