"""Duplicates: groups in pages, dismissed and taken back."""

from http import HTTPStatus

from fastapi import APIRouter

from api.cursors import decode_id, encode_id
from api.dependencies import Cursor, DatabaseDep, FolderParam, Limit, OwnerDep
from api.middleware import MAX_BODY_BYTES
from api.schemas.duplicates import GroupId, GroupOut, GroupPage, Seen, parse_group_id
from api.schemas.problem import problems
from common.db import duplicates, embedding_models
from common.duplicates import Tier

router = APIRouter(prefix="/duplicates", tags=["duplicates"], max_body_size=MAX_BODY_BYTES)

_MOST_MEMBERS = 50
"""Members that are shown of one group."""


@router.get("", responses=problems(422, 503), summary="List duplicates")
async def list_duplicates(
    database: DatabaseDep,
    owner: OwnerDep,
    tier: Tier = Tier.EXACT,
    folder_id: FolderParam = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> GroupPage:
    """List groups of images that are alike; those that were dismissed are not among them.

    `exact`: the same bytes in several folders. `near`: the same picture, encoded anew, resized or a little changed; its
    perceptual hash and its vector say so. `similar`: pictures that look alike to the model. A pair is in one tier only.
    With `folder_id`: groups that have an image there.

    Images are compared shortly after they are `done`.
    """
    after = decode_id(cursor)
    async with database.begin() as session:
        # One more than asked for tells whether there is a next page.
        keys = await duplicates.list_page(session, owner, tier, folder_id=folder_id, after=after, limit=limit + 1)
        page = keys[:limit]
        groups = await duplicates.load(session, owner, tier, page, most=_MOST_MEMBERS)
        model = await embedding_models.find_active(session)
    return GroupPage(
        groups=[GroupOut.of(group, model) for group in groups],
        next_cursor=encode_id(page[-1].id) if len(keys) > limit else None,
    )


@router.post(
    "/{group_id}/dismiss",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(404, 409, 422, 503),
    summary="Dismiss a group",
)
async def dismiss(group_id: GroupId, database: DatabaseDep, owner: OwnerDep, seen: Seen | None = None) -> None:
    """Say that the images of a group are no duplicates, or are meant to be there. It is not shown again.

    That is remembered of each pair of its images, through indexing anew and another model. An image that comes later
    and is like some of them makes a group with these.

    With a body that names the images you have seen, 409 `group_changed` if there are others by now.
    """
    async with database.begin() as session:
        await duplicates.dismiss(session, owner, parse_group_id(group_id), seen.image_ids if seen else None)


@router.delete(
    "/{group_id}/dismiss",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(404, 422, 503),
    summary="Take a dismissal back",
)
async def take_back(group_id: GroupId, database: DatabaseDep, owner: OwnerDep) -> None:
    """Forget that a group was dismissed: what is still alike is shown again."""
    async with database.begin() as session:
        await duplicates.take_back(session, owner, parse_group_id(group_id))
