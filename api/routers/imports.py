"""`POST /images/import`."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from api.dependencies import AdmissionDep, DatabaseDep, OwnerDep, SettingsDep
from api.importing import import_image
from api.middleware import MAX_BODY_BYTES
from api.routers.uploads import answer
from api.schemas.images import ImportFields, UploadOut
from api.schemas.problem import problems
from common.errors import Forbidden

router = APIRouter(tags=["images"], max_body_size=MAX_BODY_BYTES)

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.ACCEPTED: {
        "content": {
            "application/json": {
                "example": {
                    "images": [
                        {
                            "id": "0b8f6c9e-6f0b-4d5a-8f0e-2f5f3a1c9d77",
                            "status": "created",
                            "filename": "shoe.jpg",
                            "sha256": None,
                            "duplicate": False,
                        }
                    ],
                    "rejected": [],
                }
            }
        }
    }
}


async def _require_enabled(settings: SettingsDep) -> None:
    if not settings.imports.enabled:
        raise Forbidden("import by URL is switched off here: IMPORT__ENABLED", code="import_disabled")


@router.post(
    "/images/import",
    status_code=HTTPStatus.ACCEPTED,
    response_model=UploadOut,
    responses=_ACCEPTED | problems(403, 404, 422, 429, 503),
    dependencies=[Depends(_require_enabled)],
    summary="Import an image by URL",
)
async def import_by_url(
    fields: ImportFields, owner: OwnerDep, database: DatabaseDep, admission: AdmissionDep
) -> Response:
    """Have an image downloaded; the other fields describe it. 403 `import_disabled` unless the operator allows it.

    202 means that the URL is noted: the image is `created`, and can be polled like any other. A worker downloads it
    and it goes on as an upload does, or ends in `error`: `url_refused` where the URL, or what it redirects to, is not
    on the public internet; `download_failed`; `duplicate_image` where the folder has the same bytes already; or as a
    file that is not accepted. A server that does not answer well is tried again a few times.

    429 and 503 are those of an upload: come back after `Retry-After` seconds.
    """
    async with admission.admit():
        accepted = await import_image(database, owner, fields)
    return answer([accepted], [])
