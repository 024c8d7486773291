"""Corpora of hostile files of every format go through real decode children, among good pictures."""

import asyncio
from functools import partial

import pytest

from common.errors import ImageRejected
from common.imaging import ImageFormat, Preprocess
from common.settings import ImagePolicy
from tests.fixtures import mutations
from tests.fixtures.children import decode_children
from worker.decode_pool import DecodeLimits, DecodePool
from worker.render import Rendered, render

PREPROCESS = Preprocess(64)
POLICY = ImagePolicy(max_pixels=1_000_000, max_side=4_000)  # so that no lie about a size makes a test allocate much
LIMITS = DecodeLimits(memory_bytes=256 * 1024 * 1024, cpu_s=5, wall_s=30)
CHILDREN = 2
COUNT = 200

pytestmark = pytest.mark.usefixtures("own_decode_children")


async def test_mutants_of_every_format_are_pictures_or_refused_and_harm_no_neighbour() -> None:
    pool = DecodePool(POLICY, size=CHILDREN, limits=LIMITS, renderer=render)
    try:
        await pool.start()
        for format_ in ImageFormat:
            await send_corpus(pool, format_)
        assert len(decode_children()) == CHILDREN, "the pool is whole, and none has left anything behind"
    finally:
        await pool.close()
    assert not decode_children()


async def send_corpus(pool: DecodePool, format_: ImageFormat) -> None:
    """Have mutants rendered, each beside a good picture."""
    good = mutations.samples(format_)[0]
    batch = [data for mutant in mutations.mutants(format_, seed=11, count=COUNT) for data in (mutant, good)]

    results = await asyncio.gather(*map(partial(pool.render, preprocesses=[PREPROCESS]), batch), return_exceptions=True)

    kinds = [next((kind for kind in (Rendered, ImageRejected) if isinstance(end, kind)), end) for end in results[0::2]]
    assert set(kinds) == {Rendered, ImageRejected}
    expected = render(good, [PREPROCESS], POLICY)
    for neighbour in results[1::2]:
        assert isinstance(neighbour, Rendered), repr(neighbour)
        assert (neighbour.pixels[0] == expected.pixels[0]).all()
