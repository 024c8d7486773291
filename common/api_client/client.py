"""The client. Uploading again is safe, so everything here may be tried again: the same bytes give the same image."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from common.api_client.answers import Hits, ImageState, ImageStates, Readiness, UploadAnswer
from common.api_client.errors import ApiRefused, ApiUnavailable
from common.api_client.patience import Patience
from common.api_client.problems import detail_of, problem_of, reason_of
from common.errors import ImageTooLarge
from common.status import SETTLED
from common.tls import verify

Answer = TypeVar("Answer", bound=BaseModel)

IDS_PER_POLL: Final = 1000

_POLL_FIRST_S = 0.25
_POLL_LAST_S = 5.0
# An answer to an upload comes when every file of it is stored.
_TIMEOUT = httpx.Timeout(connect=5, read=120, write=60, pool=None)
_PROBE_TIMEOUT_S = 10
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file to be sent: its name, and its bytes or where they are."""

    filename: str
    content: Path | bytes

    def open(self) -> BinaryIO:
        """Open it anew, for one try."""
        return BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


class ApiClient:
    """An async context; `patience` decides how long a request is tried again."""

    def __init__(
        self, url: str, patience: Patience | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._patience = patience or Patience()
        try:
            host = httpx.URL(url).host
        except httpx.InvalidURL as error:
            raise ApiUnavailable(f"{url} is no web address") from error
        # A proxy for the internet has no business between us and this very machine.
        trust_env = host not in _LOOPBACK
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=_TIMEOUT, verify=verify(url), trust_env=trust_env, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def check(self) -> None:
        """Make sure at once, without patience, that a Likeness API answers.

        Raises:
            ApiUnavailable: it does not.
        """
        try:
            response = await self._http.get("/health", timeout=_PROBE_TIMEOUT_S)
            alive = response.json() == {"status": "alive"}
        except (httpx.HTTPError, ValueError) as error:
            raise ApiUnavailable(f"no Likeness API answers at {self.url} ({reason_of(error)})") from error
        if not alive:
            raise ApiUnavailable(f"what answers at {self.url} is no Likeness API")

    async def readiness(self) -> Readiness:
        """Ask whether requests can be served; a service that is not ready yet is an answer, not an error.

        Raises:
            ApiUnavailable: it gives no such answer.
        """
        try:
            response = await self._http.get("/ready", timeout=_PROBE_TIMEOUT_S)
            return Readiness.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise ApiUnavailable(f"no Likeness API answers at {self.url} ({reason_of(error)})") from error

    async def upload(
        self, files: Sequence[FileUpload], fields: Mapping[str, str | list[str]] | None = None
    ) -> UploadAnswer:
        """Send files; `fields` (folder_id, title, category, tags, …) describe all of them.

        Raises:
            OSError: a file can't be read.
            ImageTooLarge: there are too many files or bytes for one request.
            ApiRefused, ApiUnavailable: none was accepted.
        """

        async def attempt() -> httpx.Response:
            with ExitStack() as opened:
                parts = [("file", (file.filename, opened.enter_context(file.open()))) for file in files]
                return await self._http.post("/images/upload", data=fields, files=parts)

        response = await self._patience.persist(attempt)
        # When every file is rejected the answer is a problem, with the same two lists.
        if response.is_client_error and "rejected" in (problem := problem_of(response)):
            return _parse(UploadAnswer, problem)
        return self._read(UploadAnswer, response)

    async def states(self, ids: Sequence[UUID]) -> dict[UUID, ImageState]:
        """Return the states of those images that exist."""
        states: dict[UUID, ImageState] = {}
        for start in range(0, len(ids), IDS_PER_POLL):
            query = {"ids": [str(id_) for id_ in ids[start : start + IDS_PER_POLL]]}
            answer = await self._call(ImageStates, "POST", "/images/status", json=query)
            states.update((state.id, state) for state in answer.images)
        return states

    async def follow(self, ids: Iterable[UUID]) -> AsyncIterator[dict[UUID, ImageState]]:
        """Yield the states of images that have changed, until every one is `done`, in `error`, or deleted."""
        unsettled = dict.fromkeys(ids)
        last: dict[UUID, ImageState] = {}
        pause = _POLL_FIRST_S
        while unsettled:
            states = await self.states(list(unsettled))
            unsettled = {id_: None for id_, state in states.items() if state.status not in SETTLED}
            changed = {id_: state for id_, state in states.items() if last.get(id_) != state}
            last.update(changed)
            yield changed
            if unsettled:
                pause = _POLL_FIRST_S if changed else min(_POLL_LAST_S, pause * 1.5)
                await self._patience.sleep(pause)

    async def search_text(self, text: str, *, tag: str, limit: int) -> Hits:
        """Search the images with this tag by a sentence."""
        return await self._call(Hits, "GET", "/search/text", params={"q": text, "tag": tag, "limit": limit})

    async def similar(self, image_id: UUID, *, tag: str, limit: int) -> Hits:
        """Search the images with this tag for what looks like one of them."""
        return await self._call(Hits, "GET", f"/images/{image_id}/similar", params={"tag": tag, "limit": limit})

    async def _call(self, kind: type[Answer], method: str, path: str, **request: Any) -> Answer:
        response = await self._patience.persist(lambda: self._http.request(method, path, **request))
        return self._read(kind, response)

    def _read(self, kind: type[Answer], response: httpx.Response) -> Answer:
        if response.is_success:
            return _parse(kind, response.content)
        status, detail, code = response.status_code, detail_of(response), problem_of(response).get("code")
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise ImageTooLarge(detail, code=code)
        raise ApiRefused(detail, status=status, code=code)


def _parse(kind: type[Answer], content: bytes | dict[str, Any]) -> Answer:
    try:
        return kind.model_validate_json(content) if isinstance(content, bytes) else kind.model_validate(content)
    except ValidationError as error:
        raise ApiRefused("the answer is not one of this Likeness version's API", status=HTTPStatus.OK) from error
