"""Groups of contents that look alike, kept up to date as likenesses come and go.

A group has a centre, and whoever is in it looks like the centre itself. So a chain (A is like B, B like C, but not A
like C) may become several groups, and none grows without bounds, as it would if likeness were handed on.

Who is a centre follows from the likenesses alone, in whatever order they came: go through the contents in a fixed
order; who is like no centre so far becomes one, who is belongs to the first of these. (That is the lexicographically
first maximal independent set.) Looked at from one content: it is a centre unless one that it looks like, and that comes
before it, is. So when something changes around a content, it is decided anew; if that makes or unmakes a centre, those
like it that come after it are, too; and so on. As ids, and so the order, are random, this ends after a step or two:
K. Censor-Hillel, E. Haramaty, Z. Karnin, "Optimal dynamic distributed MIS" (2016).

What an owner has dismissed comes after everything else. So a new content that looks like several dismissed ones is the
centre of a group with all of them. A likeness between two that were dismissed together does not count.

Every function here is to be called under `lock_owner`.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from common.duplicates import LINKED

_LOCK_OWNER = text("SELECT pg_advisory_xact_lock(hashtextextended('duplicates of ' || CAST(:owner_id AS text), 0))")

_DISMISSED = "EXISTS (SELECT FROM dismissals WHERE content_id = {})"

_NEIGHBOURS = text(
    """
SELECT DISTINCT other_id FROM likenesses WHERE content_id = ANY(CAST(:ids AS uuid[]))"""
)

# All is decided by how things stood before the statement; what that gets wrong, because a neighbour is decided at the
# same time, is put right in the next round: one of the two comes first, and its fate changes the other's.
_DECIDE = text(
    f"""
WITH asked AS (
    SELECT id, owner_id, {_DISMISSED.format("contents.id")} AS last
      FROM contents WHERE id = ANY(CAST(:ids AS uuid[]))
), linked AS (
    SELECT asked.id, other_id, last, {_DISMISSED.format("other_id")} AS other_last
      FROM asked JOIN likenesses ON content_id = asked.id AND tier = :tier
     WHERE NOT EXISTS (SELECT FROM dismissals AS mine JOIN dismissals AS theirs USING (group_id, tier)
                        WHERE mine.content_id = asked.id AND theirs.content_id = other_id)
), decided AS (
    SELECT linked.id,
           coalesce((array_agg(other_id ORDER BY other_last, other_id)
                     FILTER (WHERE centre_id = other_id AND (other_last, other_id) < (last, linked.id)))[1],
                    linked.id) AS centre_id
      FROM linked LEFT JOIN group_members ON content_id = other_id AND tier = :tier
     GROUP BY linked.id
), before AS (
    SELECT content_id AS id, centre_id FROM group_members JOIN asked ON content_id = asked.id WHERE tier = :tier
), removed AS (
    DELETE FROM group_members USING asked
     WHERE content_id = asked.id AND tier = :tier AND asked.id NOT IN (SELECT id FROM decided)
), placed AS (
    INSERT INTO group_members (content_id, tier, owner_id, centre_id)
    SELECT id, :tier, owner_id, centre_id FROM decided JOIN asked USING (id)
    ON CONFLICT (content_id, tier) DO UPDATE SET centre_id = EXCLUDED.centre_id
     WHERE group_members.centre_id <> EXCLUDED.centre_id
)
SELECT asked.id FROM asked LEFT JOIN before USING (id) LEFT JOIN decided USING (id)
 WHERE (before.centre_id IS NOT DISTINCT FROM asked.id) <> (decided.centre_id IS NOT DISTINCT FROM asked.id)"""  # noqa: S608
)

_COMING_AFTER = text(
    f"""
SELECT DISTINCT other_id FROM likenesses
 WHERE content_id = ANY(CAST(:ids AS uuid[])) AND tier = :tier
   AND ({_DISMISSED.format("other_id")}, other_id) > ({_DISMISSED.format("likenesses.content_id")}, content_id)"""  # noqa: S608
)


async def lock_owner(session: AsyncSession, owner_id: UUID) -> None:
    """Keep everybody else from changing the groups of an owner until the transaction ends."""
    await session.execute(_LOCK_OWNER, {"owner_id": str(owner_id)})


async def find_neighbours(session: AsyncSession, content_ids: Collection[UUID]) -> set[UUID]:
    """Return what some contents look like."""
    return set(await session.scalars(_NEIGHBOURS, {"ids": list(content_ids)}))


async def settle(session: AsyncSession, content_ids: Collection[UUID]) -> None:
    """Bring groups up to date, given every content whose likenesses, or place in the order, may have changed."""
    for tier in LINKED:
        undecided = set(content_ids)
        while undecided:
            changed = set(await session.scalars(_DECIDE, {"ids": list(undecided), "tier": tier}))
            undecided = set(await session.scalars(_COMING_AFTER, {"ids": list(changed), "tier": tier}))
