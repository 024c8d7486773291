"""Errors as RFC 9457 problem details."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong; `code` is stable and for machines, `detail` is for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "code": "image_not_found",
                "detail": "there is no image 0b8f6c9e-6f0b-4d5a-8f0e-2f5f3a1c9d77",
            }
        },
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[dict[str, Any]] | None = Field(default=None, description="Which parts of the request, and why.")


_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before another try.", "schema": {"type": "integer"}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare, for a route's `responses`, that it may answer problems with these statuses."""
    return {status: _declare(status) for status in statuses}


def _declare(status: int) -> dict[str, Any]:
    declared: dict[str, Any] = {"content": {PROBLEM_MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        declared["headers"] = _RETRY_AFTER
    return declared
