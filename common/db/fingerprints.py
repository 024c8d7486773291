"""Perceptual hashes by the SHA-256 of the bytes they are of, and who has one like it.

A hash is cut into four parts of 16 bits. Two hashes that differ in up to 7 bits have a part in which they differ in
one at most (8 would be needed for two in each). So looking up each part of a hash, as it is and with each of its bits
flipped, misses none of those.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.duplicate_models import Fingerprint
from common.imaging import HASH_BITS, HASH_VERSION

MAX_CERTAIN_DISTANCE = 7
"""Hashes no farther from each other are found, all of them."""

_PARTS = 4
_PART_BITS = HASH_BITS // _PARTS
_PART_MASK = (1 << _PART_BITS) - 1

# The rows are locked, as far as their images are there: else the hash of a deleted one, whose bytes may be purged
# already, could come back for good.
_SAVE = text(
    """
WITH kept AS (
    SELECT sha256 FROM images WHERE sha256 = ANY(CAST(:hashes AS text[])) ORDER BY id FOR KEY SHARE
)
INSERT INTO fingerprints (sha256, version, hash, bands)
SELECT sha256, :version, hash, CASE WHEN hash IS NULL THEN '{}' ELSE ARRAY[
           (hash >> 48 & 65535)::int,
           (hash >> 32 & 65535)::int + 65536,
           (hash >> 16 & 65535)::int + 2 * 65536,
           (hash & 65535)::int + 3 * 65536] END
  FROM unnest(CAST(:hashes AS text[]), CAST(:perceptual AS bigint[])) AS given(sha256, hash)
 WHERE sha256 IN (SELECT sha256 FROM kept)
 ORDER BY sha256
ON CONFLICT (sha256) DO UPDATE SET version = EXCLUDED.version, hash = EXCLUDED.hash, bands = EXCLUDED.bands
 WHERE fingerprints.version < EXCLUDED.version"""
)

# Materialized: seen as one with the limit, PostgreSQL takes reading the whole table for the faster way.
_FIND_LIKE = text(
    """
WITH alike AS MATERIALIZED (
    SELECT sha256 FROM fingerprints
     WHERE bands && CAST(:probes AS int[])
       AND version = :version
       AND bit_count(CAST(hash # CAST(:hash AS bigint) AS bit(64))) <= :distance
)
SELECT sha256 FROM alike
 WHERE EXISTS (SELECT FROM images WHERE images.sha256 = alike.sha256 AND owner_id = :owner_id AND status = 'done')
 LIMIT :limit"""
)


async def save(session: AsyncSession, hashes: Mapping[str, int | None]) -> None:
    """Keep perceptual hashes by the SHA-256 of the bytes, of bytes that an image has."""
    perceptual = [None if value is None else to_signed(value) for value in hashes.values()]
    await session.execute(_SAVE, {"hashes": list(hashes), "perceptual": perceptual, "version": HASH_VERSION})


async def find(session: AsyncSession, hashes: Sequence[str]) -> dict[str, int | None]:
    """Return the perceptual hashes that are kept for these bytes, 0 to 2**64 - 1; None: there is too little to see."""
    query = select(Fingerprint.sha256, Fingerprint.hash).where(
        Fingerprint.sha256.in_(hashes), Fingerprint.version == HASH_VERSION
    )
    rows = await session.execute(query)
    return {sha256: None if value is None else value % (1 << HASH_BITS) for sha256, value in rows}


async def find_like(
    session: AsyncSession, owner_id: UUID, perceptual_hash: int, *, distance: int, limit: int
) -> list[str]:
    """Return what an owner has whose hash is like this one, by the SHA-256 of the bytes, in no order.

    All that differ in up to `distance` bits, as far as that is `MAX_CERTAIN_DISTANCE` or less, and `limit` suffices.
    """
    rows = await session.scalars(
        _FIND_LIKE,
        {
            "owner_id": owner_id,
            "hash": to_signed(perceptual_hash),
            "probes": probes(perceptual_hash),
            "version": HASH_VERSION,
            "distance": distance,
            "limit": limit,
        },
    )
    return list(rows)


def to_signed(value: int) -> int:
    """Return 64 bits as PostgreSQL's signed number."""
    return value - (1 << HASH_BITS) if value >> (HASH_BITS - 1) else value


def probes(perceptual_hash: int) -> list[int]:
    """Return every part of a hash, as it is and with each of its bits flipped, marked with its place."""
    parts = [perceptual_hash >> (_PART_BITS * (_PARTS - 1 - place)) & _PART_MASK for place in range(_PARTS)]
    flips = [0, *(1 << bit for bit in range(_PART_BITS))]
    return [(place << _PART_BITS) + (part ^ flip) for place, part in enumerate(parts) for flip in flips]
