"""Images: state, listing, editing, deletion, requeue."""

from http import HTTPStatus
from typing import Annotated, get_args
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.attributes import check_values
from api.cursors import decode_position, encode_position
from api.dependencies import (
    CategoryParam,
    Cursor,
    DatabaseDep,
    FolderParam,
    Limit,
    OwnerDep,
    PurgeDep,
    SettingsDep,
    TagParam,
    VectorsDep,
)
from api.middleware import MAX_BODY_BYTES
from api.schemas.images import (
    EventOut,
    ImageDetail,
    ImageEdit,
    ImageOut,
    ImagePage,
    Include,
    StatusItem,
    StatusOut,
    StatusQuery,
)
from api.schemas.problem import problems
from common import jobs
from common.db import embedding_models, embeddings, images, lifecycle
from common.db.images import ImageFilter
from common.errors import Conflict, InvalidInput
from common.payloads import try_sync_payload
from common.status import ImageStatus
from common.transitions import DELETED, Move, log_moves

router = APIRouter(prefix="/images", tags=["images"], max_body_size=MAX_BODY_BYTES)


@router.get("", responses=problems(422, 503), summary="List images")
async def list_images(
    database: DatabaseDep,
    owner: OwnerDep,
    status: ImageStatus | None = None,
    folder_id: FolderParam = None,
    tag: TagParam = None,
    category: CategoryParam = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ImagePage:
    """List your images, newest first; hidden ones too."""
    wanted = ImageFilter(owner, status, folder_id, tag, category)
    async with database.read() as session:
        # One more than asked for tells whether there is a next page.
        found = await images.list_page(session, wanted, limit=limit + 1, after=decode_position(cursor))
        model = await embedding_models.find_active(session)
    page = found[:limit]
    more = len(found) > limit
    return ImagePage(
        images=[ImageOut.of(image, model) for image in page],
        next_cursor=encode_position((page[-1].created_at, page[-1].id)) if more else None,
    )


@router.post("/status", responses=problems(422, 503), summary="Poll many images")
async def poll(query: StatusQuery, database: DatabaseDep, owner: OwnerDep) -> StatusOut:
    """Tell the states of up to 1000 images in one call."""
    async with database.read() as session:
        found = await images.find_states(session, owner, query.ids)
    return StatusOut(images=[StatusItem.of(found[id_]) for id_ in query.ids if id_ in found])


@router.get("/{image_id}", responses=problems(404, 422, 503), summary="One image")
async def get_image(
    image_id: UUID,
    database: DatabaseDep,
    owner: OwnerDep,
    include: Annotated[str, Query(description="`embedding`, `events`, or both with a comma.")] = "",
) -> ImageDetail:
    """Tell all about one image."""
    wanted = _parse_include(include)
    async with database.read() as session:
        image = await images.get(session, owner, image_id)
        model = await embedding_models.find_active(session)
        detail = ImageDetail.of(image, model)
        if "events" in wanted:
            detail.events = [EventOut.of(event) for event in await images.list_events(session, image_id)]
        if "embedding" in wanted and model is not None and image.has_bytes:
            vectors = await embeddings.find(session, model.id, [image.sha256])
            detail.embedding = vectors[image.sha256].tolist() if image.sha256 in vectors else None
    return detail


@router.patch("/{image_id}", responses=problems(404, 422, 503), summary="Edit an image")
async def edit_image(
    image_id: UUID,
    edit: ImageEdit,
    settings: SettingsDep,
    database: DatabaseDep,
    vectors: VectorsDep,
    owner: OwnerDep,
) -> ImageOut:
    """Change descriptive fields; filters of searches follow."""
    check_values(edit.attributes, settings.search.attributes)
    async with database.begin() as session:
        image = await images.edit(session, owner, image_id, edit.model_dump(exclude_unset=True))
        models = await embedding_models.list_live(session)
    if models:
        await try_sync_payload(database, vectors, models, image)
    return ImageOut.of(image, models[0] if models else None)


@router.delete(
    "/{image_id}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 422, 503), summary="Delete an image"
)
async def delete_image(image_id: UUID, database: DatabaseDep, owner: OwnerDep, purge: PurgeDep) -> None:
    """Remove an image for good: its row, its vector and, when no other image has the same bytes, these."""
    async with database.begin() as session:
        sha256 = await images.delete(session, owner, image_id)
    Move(image_id, None, DELETED).log()
    if sha256 is not None:
        await purge.try_now(image_id, sha256)


@router.post(
    "/{image_id}/requeue",
    status_code=HTTPStatus.ACCEPTED,
    responses=problems(404, 409, 422, 503),
    summary="Try a failed image again",
)
async def requeue_image(image_id: UUID, request: Request, database: DatabaseDep, owner: OwnerDep) -> ImageOut:
    """Put an image in `error` back to `pending`, with all its tries; an import without its bytes, to `created`."""
    async with database.begin() as session:
        image = await images.get(session, owner, image_id)
        moved = await lifecycle.requeue(session, [image_id], requeued_by="api")
        if not moved:
            raise Conflict(f"image {image_id} is {image.status}; only `error` can be requeued", code="image_not_failed")
        await session.refresh(image)
        model = await embedding_models.find_active(session)
    log_moves(moved.values())
    await jobs.hint(request.state.redis, [image_id])
    return ImageOut.of(image, model)


def _parse_include(text: str) -> set[str]:
    wanted = {part for part in text.split(",") if part}
    unknown = wanted - set(get_args(Include))
    if unknown:
        raise InvalidInput(f"include takes embedding and events, not {', '.join(sorted(unknown))}")
    return wanted
