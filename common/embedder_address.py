"""One address of the embedder: its connections, what it has in hand, and what its refusals mean."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import structlog
from prometheus_client import Counter, Gauge, Histogram
from pydantic import ValidationError

from common import correlation, tracing
from common.breakers import Breaker
from common.embedding import MODEL_PARAMETER, TIMEOUT_HEADER, VERSION_PARAMETER, Readiness
from common.errors import (
    EmbedderUnavailable,
    ImageRejected,
    ImageTooLarge,
    ImageUnreadable,
    InvalidInput,
    LikenessError,
    Overloaded,
    UnknownModel,
    UnsupportedMedia,
)
from common.metrics import SECONDS, begin_at_zero
from common.settings import EmbedderClientSettings
from common.tls import verify

_OUTCOMES = ("answered", "unavailable", "overloaded", "refused")
CALLS = Counter(
    "likeness_embedder_calls",
    f"Calls to the embedder by address and outcome ({', '.join(_OUTCOMES)}).",
    ["address", "outcome"],
)
IN_FLIGHT = Gauge("likeness_embedder_calls_in_flight", "Calls to the embedder that run.", multiprocess_mode="livesum")
CALL_SECONDS = Histogram(
    "likeness_embedder_call_seconds", "Time of a call to the embedder, failed ones included.", ["path"], buckets=SECONDS
)

_CONNECT_TIMEOUT_S = 2.0
_READY_TIMEOUT_S = 3.0
_KEEPALIVE_S = 2.0  # less than the server's, so that it never closes a connection just as we reuse it
_LEFT_OUT_S = 10.0
_IMAGE_ERRORS: Mapping[int, type[ImageRejected]] = {413: ImageTooLarge, 415: UnsupportedMedia, 422: ImageUnreadable}

log = structlog.get_logger(__name__)


class AnswerUnusable(EmbedderUnavailable):
    """There was an answer, but none to this question. That says nothing about whether the embedder is down."""


class Wanted(NamedTuple):
    """A model that is to answer."""

    label: str | None
    """None: the default one."""
    version: str | None
    """Of preprocessing; None: any."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the embedder is asked. Asking twice does no harm: nothing but the answer comes of it."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rejects_images: bool = False
    """Whether a 4xx may be about an image in the body."""

    @property
    def wanted(self) -> Wanted:
        """The model that is to answer."""
        return Wanted(self.params.get(MODEL_PARAMETER), self.params.get(VERSION_PARAMETER))


class EmbedderAddress:
    """An embedder process, or the load balancer before several."""

    def __init__(
        self,
        url: str,
        settings: EmbedderClientSettings,
        whole: Breaker | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """Create it, with a pool of connections of its own.

        Args:
            url: scheme, host and port, maybe credentials and a path.
            settings: how long a call may take.
            whole: the breaker of the embedder as a whole, of which this address' own is a part; None: it has none.
            transport: replaces the network in tests.
        """
        self.name = str(httpx.URL(url).copy_with(username=None, password=None))
        """The address without credentials, for people and metrics."""
        self.in_flight = 0
        """Calls of ours that it has not answered yet."""
        self._breaker = None if whole is None else whole.part(self.name)
        if self._breaker is not None:
            self._breaker.probe_with(self.ping)
        begin_at_zero(CALLS, [self.name], _OUTCOMES)
        self._left_out: dict[Wanted, float] = {}
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(settings.timeout_s, connect=min(_CONNECT_TIMEOUT_S, settings.timeout_s)),
            limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_S),
            verify=verify(url),
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def up(self) -> bool:
        """Whether it counts as up."""
        return self._breaker is None or self._breaker.closed

    def serves(self, model: Wanted) -> bool:
        """Tell whether a model may be asked for here; most are, until the address has said otherwise."""
        return self._left_out.get(model, 0) <= asyncio.get_running_loop().time()

    def leave_out(self, model: Wanted, reason: str) -> None:
        """Ask for a model elsewhere for some seconds, then here again; told once, until it is admitted."""
        if model not in self._left_out:
            log.warning("embedder_left_out", address=self.name, model=model.label, reason=reason)
        self._left_out[model] = asyncio.get_running_loop().time() + _LEFT_OUT_S

    def admit(self, model: Wanted) -> None:
        """Take note that it serves this model."""
        if self._left_out.pop(model, None) is not None:
            log.info("embedder_admitted", address=self.name, model=model.label)

    async def ready(self) -> Readiness:
        """Ask whether it serves, within a few seconds; never raises."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                response = await self._http.get("/ready")
            return Readiness.model_validate_json(response.content)
        except (httpx.HTTPError, TimeoutError, ValidationError) as error:
            return Readiness(status="unreachable", detail=f"no usable answer from the embedder: {_say(error)}")

    async def ping(self) -> None:
        """Return if it serves, raise `EmbedderUnavailable` if not."""
        readiness = await self.ready()
        if not readiness.ok:
            raise EmbedderUnavailable(readiness.detail)

    async def ask(self, call: Call, timeout_s: float) -> httpx.Response:
        """Make a call, within `timeout_s` in all; answer a 200, raise for everything else.

        Raises:
            EmbedderUnavailable: no answer in time, or a 5xx; counted by the breaker.
            AnswerUnusable: another refusal that is not the image's fault.
            Overloaded, UnknownModel, ImageRejected: as they say.
        """
        self.in_flight += 1
        try:
            with tracing.span(f"embedder {call.method} {call.path}", "client"), self._guard():
                response = await self._send(call, timeout_s)
                if response.is_server_error:
                    raise EmbedderUnavailable(_told(response))
            if response.status_code != httpx.codes.OK:
                raise _refusal(response, rejects_images=call.rejects_images)
        except LikenessError as error:
            CALLS.labels(self.name, _outcome(error)).inc()
            raise
        finally:
            self.in_flight -= 1
        CALLS.labels(self.name, "answered").inc()
        return response

    def _guard(self) -> AbstractContextManager[None]:
        """Count by the breaker. One that is open keeps nobody: who asks here then has nowhere else to go."""
        return self._breaker.guard() if self._breaker is not None and self._breaker.closed else nullcontext()

    async def _send(self, call: Call, timeout_s: float) -> httpx.Response:
        headers = {TIMEOUT_HEADER: str(int(timeout_s * 1000)), **_trail(), **call.headers}
        try:
            with IN_FLIGHT.track_inprogress(), CALL_SECONDS.labels(call.path).time():
                async with asyncio.timeout(timeout_s):
                    return await self._http.request(
                        *(call.method, call.path),
                        params=call.params,
                        content=call.content,
                        json=call.json,
                        headers=headers,
                    )
        except (httpx.HTTPError, TimeoutError) as error:
            raise EmbedderUnavailable(f"no answer from the embedder: {_say(error)}") from error


def _trail() -> dict[str, str]:
    """Return the headers by which the embedder's log and spans belong to ours."""
    request_id = correlation.current()
    if correlation.is_shared():
        log.info("embedder_asked_for_several")  # with the batch's id, which the embedder logs, and those it is for
    return tracing.carrier() | ({correlation.HEADER: request_id} if request_id else {})


def _outcome(error: LikenessError) -> str:
    if isinstance(error, Overloaded):
        return "overloaded"
    return "unavailable" if type(error) is EmbedderUnavailable else "refused"


def _refusal(response: httpx.Response, *, rejects_images: bool) -> LikenessError:
    code, detail = _problem(response)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Overloaded(detail, retry_after=_retry_after(response))
    if code == UnknownModel.default_code:
        return UnknownModel(detail)
    rejection = _IMAGE_ERRORS.get(response.status_code)
    if rejects_images and rejection is not None and code not in (None, InvalidInput.default_code):
        return rejection(detail, code=code)
    return AnswerUnusable(_told(response))


def _told(response: httpx.Response) -> str:
    return f"the embedder answered {response.status_code}: {_problem(response)[1]}"


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
