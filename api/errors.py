"""One table maps errors to HTTP; every error leaves as RFC 9457 problem details."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.schemas.problem import PROBLEM_MEDIA_TYPE, Problem
from common.error_metrics import count_error, count_refusal
from common.errors import (
    ConfigurationError,
    Conflict,
    Forbidden,
    ImageRejected,
    ImageTooLarge,
    InfrastructureError,
    InvalidInput,
    LikenessError,
    NotFound,
    Overloaded,
    UnsupportedMedia,
)

log = structlog.get_logger(__name__)

STATUSES: Mapping[type[LikenessError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ImageRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    InfrastructureError: HTTPStatus.SERVICE_UNAVAILABLE,
    ConfigurationError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The nearest class of an error's family tree rules; what is not here is a defect of ours: 500."""

RETRY_AFTER_S = 2
"""What a 503 advises: most outages here are restarts."""


def status_of(error: LikenessError) -> HTTPStatus:
    """Return the HTTP status that an error is answered with."""
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_response(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Build a problem; `more` are members beyond the standard ones."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail)
    content = problem.model_dump(mode="json", exclude_none=True) | more
    return JSONResponse(content, status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def add_error_handlers(app: FastAPI) -> None:
    """Have the app answer every error as a problem."""
    app.add_exception_handler(LikenessError, _on_likeness_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)


async def _on_likeness_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LikenessError)  # noqa: S101 - narrows what the registration guarantees
    count_error("api", error)
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
        log.warning("dependency_failed", code=error.code, error=str(error))
    return problem_response(status, error.code, str(error), headers=headers)


async def _on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return invalid_request(error.errors())


def invalid_request(found: Any) -> JSONResponse:
    """Answer what pydantic found wrong with a request."""
    errors = [{"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]} for item in found]
    first = errors[0]
    count_refusal("api", "invalid_request")
    where = ".".join(map(str, first["loc"]))
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", f"{where}: {first['msg']}", errors=errors
    )


async def _on_http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_")
    count_refusal("api", code)
    return problem_response(status, code, str(error.detail), headers=error.headers)


async def _on_client_gone(_request: Request, _error: Exception) -> JSONResponse:
    log.info("client_gone")  # its path may have an id in it; the request's own line has the route
    count_refusal("api", "client_gone")
    return problem_response(HTTPStatus.BAD_REQUEST, "client_gone", "the request was not sent to its end")
