"""`POST /images/upload`."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from api.attributes import check_values
from api.dependencies import AdmissionDep, IngestionDep, OwnerDep, SettingsDep
from api.errors import problem_response, status_of
from api.ingestion import Accepted, Rejected
from api.schemas.images import AcceptedImage, RejectedFile, UploadFields, UploadOut
from api.schemas.problem import problems
from api.uploads import receive_form
from common.error_metrics import count_error
from common.errors import InvalidInput

router = APIRouter(tags=["images"])

_LISTS = frozenset({"tags"})
_JSON = frozenset({"attributes"})

_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "folder_id": {"type": "string", "format": "uuid"},
                        "external_id": {"type": "string", "description": "Your own name for the image; one file only."},
                        "title": {"type": "string"},
                        "description": {"type": "string"},
                        "category": {"type": "string"},
                        "tags": {"type": "array", "items": {"type": "string"}},
                        "attributes": {"type": "string", "description": "A JSON object."},
                    },
                },
                "encoding": {"file": {"contentType": "image/*"}},
            }
        },
    }
}


@router.post(
    "/images/upload",
    status_code=HTTPStatus.ACCEPTED,
    response_model=UploadOut,
    responses=problems(404, 413, 415, 422, 429, 503),
    openapi_extra=_REQUEST_BODY,
    summary="Upload images",
)
async def upload(
    request: Request, owner: OwnerDep, settings: SettingsDep, admission: AdmissionDep, ingestion: IngestionDep
) -> Response:
    """Take in one or more files (`file`, repeated); the other fields describe all of them.

    202 means that what stands under `images` is stored and will become searchable whatever happens next. Files under
    `rejected` were not kept; when every file is rejected, the answer is a problem with the same two lists.

    429 and 503 come before the files are read where possible, and nothing was kept: come back after `Retry-After`
    seconds. 429 says that too many uploads run, or that too many images wait already; 503 that a store is down.
    """
    async with admission.admit(), receive_form(request, settings.upload) as form:
        stray = {name for name in form.fields if name not in UploadFields.model_fields}
        if stray:
            raise InvalidInput(f"unknown field: {', '.join(sorted(stray))}", code="unknown_field")
        fields = _parse_fields(form.fields)
        check_values(fields.attributes, settings.search.attributes)
        accepted, rejected = await ingestion.ingest(owner, fields, form.files)
    return answer(accepted, rejected)


def _parse_fields(given: dict[str, list[str]]) -> UploadFields:
    values: dict[str, Any] = {}
    for name, texts in given.items():
        if name in _LISTS:
            values[name] = texts
        elif len(texts) > 1:
            raise InvalidInput(f"the field {name!r} came more than once", code="repeated_field")
        else:
            values[name] = _parse_json(name, texts[0]) if name in _JSON else texts[0]
    try:
        return UploadFields.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def _parse_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the field {name!r} is not JSON", code="invalid_json") from error


def answer(accepted: Sequence[Accepted], rejected: Sequence[Rejected]) -> Response:
    """Tell what became of each file; when none was accepted, as a problem."""
    for item in rejected:
        count_error("api", item.error)
    out = UploadOut(
        images=[
            AcceptedImage(
                id=item.image.id,
                status=item.image.status,
                filename=item.filename,
                sha256=item.image.sha256,
                duplicate=item.duplicate,
            )
            for item in accepted
        ],
        rejected=[
            RejectedFile(filename=item.filename, code=item.error.code, detail=str(item.error)) for item in rejected
        ],
    ).model_dump(mode="json")
    if accepted:
        return JSONResponse(out, HTTPStatus.ACCEPTED)
    first = rejected[0].error
    return problem_response(status_of(first), first.code, "no file was accepted: " + str(first), **out)
