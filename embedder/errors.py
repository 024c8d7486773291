"""Errors on the wire: RFC 9457 problem details with a stable `code`. One table maps our errors to HTTP."""

import math
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from common.errors import (
    ConfigurationError,
    ImageRejected,
    ImageTooLarge,
    InfrastructureError,
    InvalidInput,
    LikenessError,
    Overloaded,
    UnknownModel,
    UnsupportedMedia,
)

log = structlog.get_logger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
NOT_READY = "embedder_not_ready"

_STATUS: dict[type[LikenessError], HTTPStatus] = {
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ImageRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    UnknownModel: HTTPStatus.NOT_FOUND,
    ConfigurationError: HTTPStatus.SERVICE_UNAVAILABLE,
    InfrastructureError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""By class; a subclass that is missing here has its nearest ancestor's status."""

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> JSONResponse:
    """Make a problem response."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail, **extra}
    return JSONResponse(body, status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Let every error leave `app` as a problem."""
    app.exception_handler(LikenessError)(_on_likeness_error)
    app.exception_handler(TimeoutError)(_on_timeout)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(Exception)(_on_unexpected)


def _on_likeness_error(_request: Request, error: LikenessError) -> JSONResponse:
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {"Retry-After": str(math.ceil(error.retry_after))} if isinstance(error, Overloaded) else None
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.code != NOT_READY:  # the service itself logged why
        log.warning("request_failed", code=error.code, reason=str(error))
    return problem(status, error.code, str(error), headers)


def _on_timeout(_request: Request, error: TimeoutError) -> JSONResponse:
    return problem(HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded", str(error) or "the deadline passed")


def _on_validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
    errors = [{"loc": item["loc"], "msg": item["msg"], "type": item["type"]} for item in error.errors()]
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input", "the request is not as it should be", errors=errors
    )


def _on_http_exception(_request: Request, error: HTTPException) -> JSONResponse:
    code = _HTTP_CODES.get(error.status_code, "bad_request" if error.status_code < 500 else "internal_error")
    return problem(error.status_code, code, error.detail, dict(error.headers or {}))


def _on_unexpected(_request: Request, _error: Exception) -> JSONResponse:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "something went wrong here")
