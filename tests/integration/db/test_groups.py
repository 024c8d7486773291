"""Groups of contents, held against a plain program that makes them from all likenesses at once."""

import itertools
import random
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from common.db import duplicates, likenesses
from common.db.duplicate_models import Content, Dismissal, GroupMember, Likeness
from common.db.duplicates import GroupKey
from common.db.engine import Database
from common.db.likenesses import Pair
from common.db.models import LOCAL_OWNER_ID, Image
from common.duplicates import LINKED, Tier
from tests.fixtures.rows import delete, new_image, record_done

CRITERIA = 2


def pair(one: Image, other: Image, tier: Tier = Tier.NEAR, score: float = 0.9) -> Pair:
    return Pair(one.sha256, other.sha256, tier, 2, score)


async def compare(
    database: Database, images: Iterable[Image], pairs: Iterable[Pair] = (), *, criteria_id: int = CRITERIA
) -> int:
    async with database.begin() as session:
        return await likenesses.record(
            session, LOCAL_OWNER_ID, [image.id for image in images], list(pairs), criteria_id
        )


async def read_groups(database: Database, tier: Tier = Tier.NEAR) -> dict[UUID, set[UUID]]:
    """Return the groups of a tier as they are shown: the images of each."""
    async with database.begin() as session:
        keys = await duplicates.list_page(session, LOCAL_OWNER_ID, tier, folder_id=None, after=None, limit=1000)
        shown = await duplicates.load(session, LOCAL_OWNER_ID, tier, keys, most=1000)
    return {group.key.id: {member.image.id for member in group.members} for group in shown}


async def tidy(database: Database) -> int:
    async with database.begin() as session:
        gone = await likenesses.find_gone(session, limit=1000)
        return await likenesses.remove_gone(session, LOCAL_OWNER_ID, list(gone), many=10**9)


async def expected_centres(database: Database, tier: Tier) -> dict[UUID, UUID]:
    """Decide for all contents in order, from likenesses and dismissals alone; those like no other are left out."""
    async with database.begin() as session:
        links = [
            (row.content_id, row.other_id)
            for row in await session.scalars(select(Likeness).where(Likeness.tier == tier))
        ]
        dismissed: dict[tuple[UUID, str], set[UUID]] = {}
        for row in await session.scalars(select(Dismissal)):
            dismissed.setdefault((row.group_id, row.tier), set()).add(row.content_id)
    assert set(links) == {(other, one) for one, other in links}
    last = set().union(*dismissed.values())
    links = [link for link in links if not any(members.issuperset(link) for members in dismissed.values())]
    like: dict[UUID, set[UUID]] = {}
    for one, other in links:
        like.setdefault(one, set()).add(other)
    order = sorted(like, key=lambda id_: (id_ in last, id_))
    centres: dict[UUID, UUID] = {}
    for id_ in order:
        before = [other for other in order if other in like[id_] and centres.get(other) == other]
        centres[id_] = before[0] if before else id_
    return centres


async def check(database: Database) -> None:
    for tier in LINKED:
        async with database.begin() as session:
            members = await session.scalars(select(GroupMember).where(GroupMember.tier == tier))
            found = {member.content_id: member.centre_id for member in members}
        assert found == await expected_centres(database, tier)


async def test_groups_follow_whatever_happens(database: Database) -> None:
    """Comparisons in any order, deletions, dismissals and their undoing, new criteria."""
    rng = random.Random(16)
    images = await record_done(database, *(new_image() for _ in range(25)))
    pairs = [
        pair(one, other, rng.choice(LINKED)) for one, other in itertools.combinations(images, 2) if rng.random() < 0.15
    ]
    of = {image.sha256: [item for item in pairs if image.sha256 in (item.sha256, item.other)] for image in images}
    turned = {
        image.sha256: [
            item if item.sha256 == image.sha256 else Pair(item.other, item.sha256, item.tier, item.distance, item.score)
            for item in of[image.sha256]
        ]
        for image in images
    }
    todo = list(images)
    rng.shuffle(todo)
    while todo:
        batch = [todo.pop() for _ in range(min(len(todo), rng.randrange(1, 6)))]
        await compare(database, batch, [item for image in batch for item in turned[image.sha256]])
        await check(database)
    dismissed: list[GroupKey] = []
    for _ in range(12):
        tier = rng.choice(LINKED)
        if (shown := await read_groups(database, tier)) and rng.random() < 0.5:
            dismissed.append(GroupKey(tier, rng.choice(sorted(shown))))
            async with database.begin() as session:
                await duplicates.dismiss(session, LOCAL_OWNER_ID, dismissed[-1])
            assert dismissed[-1].id not in await read_groups(database, tier)
        elif dismissed and rng.random() < 0.5:
            async with database.begin() as session:
                await duplicates.take_back(session, LOCAL_OWNER_ID, dismissed.pop())
        else:
            await delete(database, images.pop(rng.randrange(len(images))))
            assert await tidy(database) == 1
        await check(database)
    await compare(database, images, [item for item in pairs if rng.random() < 0.5], criteria_id=CRITERIA + 1)
    await check(database)
    for image in images:
        await delete(database, image)
    await tidy(database)
    async with database.begin() as session:
        for table in (Content, Likeness, GroupMember, Dismissal):
            assert await session.scalar(select(table).limit(1)) is None
