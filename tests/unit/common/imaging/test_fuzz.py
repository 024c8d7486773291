"""Whatever is done to a file of any format: it decodes, or is refused with a typed error. Nothing else."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ImageRejected
from common.imaging import ImageFormat, decode, read_header
from common.settings import ImagePolicy
from tests.fixtures import pictures

# Small, so that no mutated header makes a test allocate much.
POLICY = ImagePolicy(max_pixels=1_000_000, max_side=4_000)

edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=6)


def mutate(data: bytes, changes: list[tuple[float, bytes]], cut: float, inserted: bytes) -> bytes:
    """Overwrite bytes, most of them in the first kilobyte where headers are; insert some; cut the rest off."""
    mutated = bytearray(data)
    for where, new in changes:
        at = int(where * where * len(mutated))
        mutated[at : at + len(new)] = new
    if inserted:
        at = len(mutated) // 3
        mutated[at:at] = inserted
    return bytes(mutated[: int(len(mutated) * cut)])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_", ImageFormat)
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=edits, cut=st.one_of(st.just(1.0), st.floats(0, 1)), inserted=st.binary(max_size=40))
def test_a_mutated_file_decodes_or_is_refused(
    format_: ImageFormat, changes: list[tuple[float, bytes]], cut: float, inserted: bytes
) -> None:
    data = mutate(pictures.valid()[format_], changes, cut, inserted)

    with suppress(ImageRejected):
        header = read_header(BytesIO(data), POLICY)
        assert header.width * header.height <= POLICY.max_pixels
        image = decode(data, POLICY)
        assert image.mode == "RGB"
        assert image.width * image.height <= POLICY.max_pixels


@settings(max_examples=300, derandomize=True, deadline=None)
@given(data=st.binary(max_size=300), prefix=st.sampled_from([data[:24] for data in pictures.valid().values()]))
def test_noise_behind_a_magic_number_is_refused_or_decodes(data: bytes, prefix: bytes) -> None:
    with suppress(ImageRejected):
        assert decode(prefix + data, POLICY).mode == "RGB"
