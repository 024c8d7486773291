"""Errors on the wire: RFC 9457 problem details with a stable `code`. One table maps our errors to HTTP.

Below `/v1` they have the shape that clients of OpenAI's API read.
"""

import math
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from common.error_metrics import OVERLOAD, count_error, count_refusal
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
OPENAI_PREFIX = "/v1"
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


_OPENAI_STATUSES = {415: 400, 422: 400}
"""What OpenAI's API answers instead, where it knows no such status."""
_OPENAI_CODES = {UnknownModel.default_code: "model_not_found"}


def refusal(
    path: str, status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: Any
) -> JSONResponse:
    """Make the response to a request that fails, in the shape that callers of this path expect."""
    if path.startswith(f"{OPENAI_PREFIX}/"):
        return _openai_error(status, code, detail, headers)
    return _problem(status, code, detail, headers, **extra)


def _openai_error(status: int, code: str, detail: str, headers: dict[str, str] | None) -> JSONResponse:
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    error = {"message": detail, "type": kind, "param": None, "code": _OPENAI_CODES.get(code, code)}
    return JSONResponse({"error": error}, status_code=_OPENAI_STATUSES.get(status, status), headers=headers)


def _problem(status: int, code: str, detail: str, headers: dict[str, str] | None, **extra: Any) -> JSONResponse:
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail, **extra}
    return JSONResponse(body, status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Let every error leave `app` as a problem."""
    app.exception_handler(LikenessError)(_on_likeness_error)
    app.exception_handler(TimeoutError)(_on_timeout)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_exception)


def _on_likeness_error(request: Request, error: LikenessError) -> JSONResponse:
    count_error("embedder", error)
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {"Retry-After": str(math.ceil(error.retry_after))} if isinstance(error, Overloaded) else None
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.code != NOT_READY:  # the service itself logged why
        log.warning("request_failed", code=error.code, reason=str(error))
    return refusal(request.url.path, status, error.code, str(error), headers)


def _on_timeout(request: Request, error: TimeoutError) -> JSONResponse:
    code = "deadline_exceeded"
    count_refusal("embedder", code, OVERLOAD)
    return refusal(request.url.path, HTTPStatus.GATEWAY_TIMEOUT, code, str(error) or "the deadline passed")


def _on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    errors = [{"loc": item["loc"], "msg": item["msg"], "type": item["type"]} for item in error.errors()]
    first = errors[0]
    count_refusal("embedder", InvalidInput.default_code)
    return refusal(
        request.url.path,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        InvalidInput.default_code,
        f"the request is not as it should be: {first['loc'][-1]}: {first['msg']}",
        errors=errors,
    )


def _on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    code = _HTTP_CODES.get(error.status_code, "bad_request" if error.status_code < 500 else "internal_error")
    count_refusal("embedder", code)
    return refusal(request.url.path, error.status_code, code, error.detail, dict(error.headers or {}))


async def answer_defect(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what nobody had thought of."""
    answer = refusal(
        scope["path"], HTTPStatus.INTERNAL_SERVER_ERROR, LikenessError.default_code, "something went wrong here"
    )
    await answer(scope, receive, send)
