"""Corpora of hostile files of every format, through the header check and real decode children among good pictures."""

import asyncio
from contextlib import suppress
from io import BytesIO

import pytest

from common.errors import ImageRejected
from common.imaging import ImageFormat, Preprocess, read_header
from common.settings import ImagePolicy
from tests.fixtures import mutations
from tests.fixtures.children import decode_children
from worker.decode_pool import DecodeLimits, DecodePool
from worker.render import Rendered, render

PREPROCESS = Preprocess(64)
POLICY = ImagePolicy(max_pixels=1_000_000, max_side=4_000)  # so that no lie about a size makes a test allocate much
LIMITS = DecodeLimits(memory_bytes=256 * 1024 * 1024, cpu_s=5, wall_s=30)
CHILDREN = 2
COUNT = 150


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
def test_the_header_check_passes_or_refuses_a_mutant(format_: ImageFormat) -> None:
    passed = 0
    for data in mutations.mutants(format_, seed=7, count=5 * COUNT):
        with suppress(ImageRejected):
            header = read_header(BytesIO(data), POLICY)
            assert 0 < header.width * header.height <= POLICY.max_pixels
            passed += 1
    assert COUNT < passed < 5 * COUNT, "or the corpus is too tame, or too wild, to show anything"


async def test_mutants_of_every_format_are_pictures_or_refused_and_harm_no_neighbour() -> None:
    pool = DecodePool(PREPROCESS, POLICY, size=CHILDREN, limits=LIMITS, renderer=render)
    try:
        await pool.start()
        for format_ in ImageFormat:
            good = mutations.samples(format_)[0]
            hostile = mutations.mutants(format_, seed=7, count=COUNT)
            batch = [data for mutant in hostile for data in (mutant, good)]

            results = await asyncio.gather(*map(pool.render, batch), return_exceptions=True)

            for mutant in results[0::2]:
                assert isinstance(mutant, Rendered | ImageRejected), repr(mutant)
            expected = render(good, PREPROCESS, POLICY)
            for neighbour in results[1::2]:
                assert isinstance(neighbour, Rendered), repr(neighbour)
                assert (neighbour.pixels == expected.pixels).all()
            assert any(isinstance(mutant, Rendered) for mutant in results[0::2])
            assert any(isinstance(mutant, ImageRejected) for mutant in results[0::2])
        assert len(decode_children()) == CHILDREN, "the pool is whole, and none has left anything behind"
    finally:
        await pool.close()
    assert not decode_children()
