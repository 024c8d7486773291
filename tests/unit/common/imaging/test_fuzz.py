"""Whatever is done to a file of any format: it decodes, or is refused with a typed error. Nothing else."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ImageRejected
from common.imaging import ImageFormat, decode, read_header
from common.settings import ImagePolicy
from tests.fixtures import mutations, pictures

# Small, so that no mutated header makes a test allocate much.
POLICY = ImagePolicy(max_pixels=1_000_000, max_side=4_000)
COUNT = 500


@pytest.mark.parametrize("format_", ImageFormat)
def test_the_fuzzer_starts_from_good_files_that_it_can_take_apart(format_: ImageFormat) -> None:
    for data in mutations.samples(format_):
        assert read_header(BytesIO(data), POLICY).format is format_
        assert b"".join(mutations.split(data, format_)) == data
    assert max(len(mutations.split(data, format_)) for data in mutations.samples(format_)) > 2


def test_the_same_seed_makes_the_same_files() -> None:
    once, again, others = (list(mutations.mutants(ImageFormat.PNG, seed=seed, count=20)) for seed in (1, 1, 2))
    assert once == again
    assert once != others


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_", ImageFormat)
def test_a_mutated_file_decodes_or_is_refused(format_: ImageFormat) -> None:
    passed = decoded = 0
    for data in mutations.mutants(format_, seed=7, count=COUNT):
        with suppress(ImageRejected):
            header = read_header(BytesIO(data), POLICY)
            assert 0 < header.width * header.height <= POLICY.max_pixels
            passed += 1
            image = decode(data, POLICY)
            assert image.mode == "RGB"
            assert image.width * image.height <= POLICY.max_pixels
            decoded += 1
    assert COUNT / 10 < decoded < passed < COUNT, "or the corpus is too wild, or too tame, to show anything"


@settings(max_examples=300, derandomize=True, deadline=None)
@given(data=st.binary(max_size=300), prefix=st.sampled_from([data[:24] for data in pictures.valid().values()]))
def test_noise_behind_a_magic_number_is_refused_or_decodes(data: bytes, prefix: bytes) -> None:
    with suppress(ImageRejected):
        assert decode(prefix + data, POLICY).mode == "RGB"
