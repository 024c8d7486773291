"""Groups of duplicates as their owner sees them: in pages, dismissed and taken back, and by image."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import groups
from common.db.criteria import NEVER
from common.db.duplicate_models import Content, Dismissal, GroupMember
from common.db.models import Image
from common.duplicates import Tier
from common.errors import Conflict, NotFound

_FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Names a group: its tier, and the content that is its centre."""

    tier: Tier
    id: UUID


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a group, and how it is like the centre.

    Attributes:
        image: the row.
        score: cosine similarity.
        distance: bits in which the perceptual hashes differ; None: there is too little to see in one of them.
    """

    image: Image
    score: float
    distance: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group: those of its members that are most like the centre, which comes first, and how many there are."""

    key: GroupKey
    count: int
    members: list[Member]


_IN_FOLDER = (
    "EXISTS (SELECT FROM images WHERE images.folder_id = :folder_id AND images.sha256 = contents.sha256"
    " AND images.owner_id = :owner_id AND compared_by > :never)"
)

_COPIED = """
SELECT id FROM contents
 WHERE owner_id = :owner_id AND copies > 1 AND NOT copies_dismissed AND id > :after AND {in_folder}
 ORDER BY id LIMIT :limit"""

_LOOKING_ALIKE = """
SELECT centre_id FROM group_members JOIN contents ON contents.id = content_id
 WHERE group_members.owner_id = :owner_id AND tier = :tier AND centre_id > :after AND copies > 0
 GROUP BY centre_id HAVING count(*) > 1 AND bool_or({in_folder})
 ORDER BY centre_id LIMIT :limit"""

_PAGES = {
    (tier, in_folder): text(
        (_COPIED if tier is Tier.EXACT else _LOOKING_ALIKE).format(in_folder=_IN_FOLDER if in_folder else "TRUE")
    )
    for tier in Tier
    for in_folder in (False, True)
}

# The centre first, then one image of each other content, the most alike first, then the copies of all of them.
_MEMBERS = text(
    """
SELECT wanted.id AS group_id, found.*
  FROM unnest(CAST(:ids AS uuid[])) AS wanted(id) CROSS JOIN LATERAL (
    SELECT id, coalesce(score, 1) AS score, CASE WHEN score IS NULL THEN 0 ELSE distance END AS distance,
           count(*) OVER () AS total,
           row_number() OVER (ORDER BY copy > 1, content_id <> wanted.id, score DESC, created_at, id) AS place
      FROM (SELECT images.id, images.created_at, members.content_id, score, distance,
                   row_number() OVER (PARTITION BY members.content_id ORDER BY images.created_at, images.id) AS copy
              FROM (SELECT wanted.id AS content_id WHERE CAST(:tier AS text) = 'exact'
                    UNION ALL
                    SELECT content_id FROM group_members
                     WHERE owner_id = :owner_id AND tier = :tier AND centre_id = wanted.id) AS members
              JOIN contents ON contents.id = members.content_id AND contents.owner_id = :owner_id
              JOIN images ON images.sha256 = contents.sha256 AND images.owner_id = :owner_id AND compared_by > :never
              LEFT JOIN likenesses ON likenesses.content_id = wanted.id AND other_id = members.content_id) AS present
     ORDER BY place LIMIT :most) AS found
 ORDER BY group_id, place"""
)

_GROUPS_OF = text(
    """
SELECT images.id, coalesce(centre_id, contents.id) AS group_id
  FROM images JOIN contents USING (owner_id, sha256)
  LEFT JOIN group_members ON content_id = contents.id AND tier = 'near'
 WHERE images.id = ANY(CAST(:ids AS uuid[]))"""
)


async def list_page(
    session: AsyncSession, owner_id: UUID, tier: Tier, *, folder_id: UUID | None, after: UUID | None, limit: int
) -> list[GroupKey]:
    """Return up to `limit` groups of a tier, in the order of their ids; with `folder_id`, those with an image there."""
    given: dict[str, object] = {"owner_id": owner_id, "after": after or _FIRST, "limit": limit}
    if tier is not Tier.EXACT:
        given["tier"] = tier
    if folder_id is not None:
        given |= {"folder_id": folder_id, "never": NEVER}
    statement = _PAGES[tier, folder_id is not None]
    return [GroupKey(tier, id_) for id_ in await session.scalars(statement, given)]


async def load(
    session: AsyncSession, owner_id: UUID, tier: Tier, keys: Sequence[GroupKey], *, most: int
) -> list[Group]:
    """Return groups of a tier with up to `most` members each, in order; without those that are none any more."""
    ids = [key.id for key in keys]
    given = {"owner_id": owner_id, "tier": tier, "ids": ids, "most": most, "never": NEVER}
    rows = (await session.execute(_MEMBERS, given)).all()
    images = {
        image.id: image for image in await session.scalars(select(Image).where(Image.id.in_({row.id for row in rows})))
    }
    members: dict[UUID, list[Member]] = {id_: [] for id_ in ids}
    totals = {row.group_id: row.total for row in rows}
    for row in rows:
        if row.id in images:
            members[row.group_id].append(Member(images[row.id], row.score, row.distance))
    return [Group(key, totals[key.id], members[key.id]) for key in keys if len(members[key.id]) > 1]


async def find_groups(session: AsyncSession, image_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return to which group each image belongs that has been compared, its own where it looks like no other.

    Copies of the same bytes share theirs, and so do members of a near group; what was dismissed does not.
    """
    return {row.id: row.group_id for row in await session.execute(_GROUPS_OF, {"ids": image_ids})}


async def dismiss(session: AsyncSession, owner_id: UUID, key: GroupKey, seen: Collection[UUID] | None = None) -> None:
    """Remember that the members of a group are no duplicates of each other, or are meant to be there.

    `seen` are the images the owner has seen in it; None: all that there are. Doing it again changes nothing.

    Raises:
        NotFound: the owner has no such group, and has not dismissed one.
        Conflict: there are images in it that the owner has not seen.
    """
    await groups.lock_owner(session, owner_id)
    if seen is not None:
        await _check_seen(session, owner_id, key, seen)
    if key.tier is Tier.EXACT:
        await _dismiss_copies(session, owner_id, key, dismissed=True)
        return
    members = set(
        await session.scalars(
            select(GroupMember.content_id).where(
                GroupMember.owner_id == owner_id, GroupMember.tier == key.tier, GroupMember.centre_id == key.id
            )
        )
    )
    if len(members) > 1:
        rows = [{"content_id": id_, "group_id": key.id, "tier": key.tier} for id_ in members]
        await session.execute(insert(Dismissal).values(rows).on_conflict_do_nothing())
        await groups.settle(session, members | await groups.find_neighbours(session, members))
    elif await session.scalar(_dismissed(owner_id, key).limit(1)) is None:
        raise _no_group(key)


async def take_back(session: AsyncSession, owner_id: UUID, key: GroupKey) -> None:
    """Forget that a group was dismissed, however often.

    Raises:
        NotFound: the owner has dismissed no such group.
    """
    await groups.lock_owner(session, owner_id)
    if key.tier is Tier.EXACT:
        await _dismiss_copies(session, owner_id, key, dismissed=False)
        return
    members = set(await session.scalars(_dismissed(owner_id, key)))
    if not members:
        raise _no_group(key)
    await session.execute(
        delete(Dismissal).where(
            Dismissal.group_id == key.id, Dismissal.tier == key.tier, Dismissal.content_id.in_(members)
        )
    )
    await groups.settle(session, members | await groups.find_neighbours(session, members))


async def _dismiss_copies(session: AsyncSession, owner_id: UUID, key: GroupKey, *, dismissed: bool) -> None:
    of_owner = Content.id == key.id, Content.owner_id == owner_id, Content.copies > 1
    changed = update(Content).where(*of_owner).values(copies_dismissed=dismissed).returning(Content.id)
    if await session.scalar(changed) is None:
        raise _no_group(key)


async def _check_seen(session: AsyncSession, owner_id: UUID, key: GroupKey, seen: Collection[UUID]) -> None:
    given = {"owner_id": owner_id, "tier": key.tier, "ids": [key.id], "most": len(seen) + 1, "never": NEVER}
    present = {row.id for row in await session.execute(_MEMBERS, given)}
    if present - set(seen):
        raise Conflict("there are other images in the group by now; look at it again", code="group_changed")


def _dismissed(owner_id: UUID, key: GroupKey) -> Select[UUID]:
    return (
        select(Dismissal.content_id)
        .join(Content, Content.id == Dismissal.content_id)
        .where(Dismissal.group_id == key.id, Dismissal.tier == key.tier, Content.owner_id == owner_id)
    )


def _no_group(key: GroupKey) -> NotFound:
    return NotFound(f"there is no group {key.tier}-{key.id}", code="group_not_found")
