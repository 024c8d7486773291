"""The way to the embedder: connections, deadline and breaker, and what its refusals mean."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import httpx
import structlog
from prometheus_client import Gauge, Histogram
from pydantic import ValidationError

from common import correlation, tracing
from common.breakers import Breaker
from common.embedding import TIMEOUT_HEADER, Readiness
from common.errors import (
    EmbedderUnavailable,
    ImageRejected,
    ImageTooLarge,
    ImageUnreadable,
    InvalidInput,
    Overloaded,
    UnknownModel,
    UnsupportedMedia,
)
from common.metrics import SECONDS
from common.settings import EmbedderClientSettings
from common.tls import verify

CALLS = Gauge("likeness_embedder_calls_in_flight", "Calls to the embedder that run.", multiprocess_mode="livesum")
CALL_SECONDS = Histogram(
    "likeness_embedder_call_seconds", "Time of a call to the embedder, failed ones included.", ["path"], buckets=SECONDS
)

log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT_S = 2.0
_READY_TIMEOUT_S = 3.0
_KEEPALIVE_S = 2.0  # less than the server's, so that it never closes a connection just as we reuse it
_IMAGE_ERRORS: Mapping[int, type[ImageRejected]] = {413: ImageTooLarge, 415: UnsupportedMedia, 422: ImageUnreadable}


class EmbedderLink:
    """One pool of connections to one embedder service, and the breaker before it; all its models share them."""

    def __init__(
        self, settings: EmbedderClientSettings, breaker: Breaker | None, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        """Create a link; see `EmbedderClient`."""
        self._breaker = breaker
        if breaker is not None:
            breaker.probe_with(self._ping)
        self._timeout_s = settings.timeout_s
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            timeout=httpx.Timeout(settings.timeout_s, connect=min(_CONNECT_TIMEOUT_S, settings.timeout_s)),
            limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_S),
            verify=verify(settings.url),
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ready(self) -> Readiness:
        """Ask whether the embedder serves, within a few seconds; never raises."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                response = await self._http.get("/ready")
            return Readiness.model_validate_json(response.content)
        except (httpx.HTTPError, TimeoutError, ValidationError) as error:
            return Readiness(status="unreachable", detail=f"no usable answer from the embedder: {_say(error)}")

    async def _ping(self) -> None:
        readiness = await self.ready()
        if not readiness.ok:
            raise EmbedderUnavailable(readiness.detail)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        rejects_images: bool = False,
    ) -> httpx.Response:
        """Make one call under the total deadline; answer a 200, raise for everything else.

        Args:
            method: of HTTP, like the following ones.
            path: below the embedder's address.
            params: its query.
            content: a raw body.
            json: a body in JSON.
            headers: beside the deadline's.
            rejects_images: whether a 4xx may be about an image in the body.
        """
        guard = self._breaker.guard() if self._breaker else nullcontext()
        with tracing.span(f"embedder {method} {path}", "client"), guard:
            given = {TIMEOUT_HEADER: str(int(self._timeout_s * 1000)), **_trail(), **(headers or {})}
            try:
                with CALLS.track_inprogress(), CALL_SECONDS.labels(path).time():
                    async with asyncio.timeout(self._timeout_s):
                        response = await self._http.request(
                            method, path, params=params, content=content, json=json, headers=given
                        )
            except (httpx.HTTPError, TimeoutError) as error:
                raise EmbedderUnavailable(f"no answer from the embedder: {_say(error)}") from error
            if response.is_server_error:
                raise _error(response, rejects_images=False)
        if response.status_code != httpx.codes.OK:
            raise _error(response, rejects_images=rejects_images)
        return response


def _trail() -> dict[str, str]:
    """Return the headers by which the embedder's log and spans belong to ours."""
    request_id = correlation.current()
    if correlation.is_shared():
        log.info("embedder_asked_for_several")  # with the batch's id, which the embedder logs, and those it is for
    return tracing.carrier() | ({correlation.HEADER: request_id} if request_id else {})


def _error(response: httpx.Response, *, rejects_images: bool) -> Exception:
    code, detail = _problem(response)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Overloaded(detail, retry_after=_retry_after(response))
    if code == UnknownModel.default_code:
        return UnknownModel(detail)
    rejection = _IMAGE_ERRORS.get(response.status_code)
    if rejects_images and rejection is not None and code not in (None, InvalidInput.default_code):
        return rejection(detail, code=code)
    return EmbedderUnavailable(f"the embedder answered {response.status_code}: {detail}")


def _problem(response: httpx.Response) -> tuple[str | None, str]:
    """Read code and detail of a problem; an answer that is none (a proxy's page) has no code."""
    try:
        body = response.json()
    except ValueError:
        return None, response.reason_phrase
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        return None, response.reason_phrase
    return body["code"], str(body.get("detail") or body["code"])


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(60.0, max(0.0, float(response.headers.get("Retry-After", "1"))))
    except ValueError:
        return 1.0


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
