import random

import pytest

from common.db.fingerprints import MAX_CERTAIN_DISTANCE, probes, to_signed
from common.duplicates import DuplicateThresholds, Tier

THRESHOLDS = DuplicateThresholds(near_distance=8, near_score=0.8, similar_score=0.9)


@pytest.mark.parametrize(
    ("distance", "score", "tier"),
    [
        (0, 1.0, Tier.NEAR),
        (8, 0.8, Tier.NEAR),
        (9, 0.9, Tier.SIMILAR),
        (None, 1.0, Tier.SIMILAR),
        (8, 0.79, None),
        (9, 0.89, None),
        (None, 0.89, None),
    ],
)
def test_a_pair_is_in_one_tier_at_most(distance: int | None, score: float, tier: Tier | None) -> None:
    assert THRESHOLDS.tier(distance, score) == tier


def test_no_score_below_the_least_makes_a_pair() -> None:
    assert THRESHOLDS.tier(0, THRESHOLDS.least_score - 0.01) is None
    assert DuplicateThresholds(8, 0.95, 0.9).least_score == 0.9


def test_hashes_that_differ_in_few_bits_share_a_probe() -> None:
    """Whichever bits they are: what is stored of the one is among the probes of the other."""
    rng = random.Random(7)
    for _ in range(300):
        one = rng.getrandbits(64)
        flipped = rng.sample(range(64), rng.randrange(MAX_CERTAIN_DISTANCE + 1))
        other = one ^ sum(1 << bit for bit in flipped)
        stored = {(place << 16) + (other >> (48 - 16 * place) & 0xFFFF) for place in range(4)}
        assert stored & set(probes(one))
    assert len(set(probes(0))) == 4 * 17


def test_a_hash_fits_into_a_signed_number() -> None:
    assert [to_signed(value) for value in (0, 1, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 1, 2**63 - 1, -(2**63), -1]
