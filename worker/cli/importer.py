"""Sends files to the HTTP API and keeps the score; knows no terminal."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

from common.api_client import Accepted, ApiClient, ApiRefused, FileUpload, ImageState, UploadAnswer, for_each
from common.errors import ImageTooLarge
from common.status import SETTLED, ImageStatus
from worker.cli.files import LocalFile, pack
from worker.cli.journal import Journal

REQUESTS_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """A file that did not become an image, and why."""

    path: Path
    code: str
    detail: str


@dataclass(slots=True)
class Score:
    """How an import stands. Every file found ends up as skipped, accepted, duplicate or rejected."""

    found: int = 0
    skipped: int = 0
    """Accepted by an earlier run."""
    accepted: int = 0
    duplicates: int = 0
    """Accepted too, but the folder held the same bytes already."""
    rejected: list[NotAccepted] = field(default_factory=list)
    images: dict[UUID, Path] = field(default_factory=dict)
    """The images of this import, those of earlier runs included."""
    states: dict[UUID, ImageState] = field(default_factory=dict)
    """As far as they were waited for."""

    @property
    def answered(self) -> int:
        """How many files are dealt with."""
        return self.skipped + self.accepted + self.duplicates + len(self.rejected)

    @property
    def settled(self) -> int:
        """How many of the images need no more waiting."""
        return sum(state.status in SETTLED for state in self.states.values())

    @property
    def failed(self) -> list[NotAccepted]:
        """Files that were accepted but could not be made searchable."""
        return [
            NotAccepted(self.images[id_], state.error.code, state.error.detail)
            for id_, state in self.states.items()
            if state.status is ImageStatus.ERROR and state.error is not None
        ]


class Importer:
    """One import; `on_change` is called whenever the score has changed."""

    def __init__(
        self,
        client: ApiClient,
        journal: Journal,
        fields: Mapping[str, str | list[str]],
        score: Score,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.score = score
        self._client = client
        self._journal = journal
        self._fields = fields
        self._on_change = on_change

    async def send(self, files: Sequence[LocalFile]) -> None:
        """Send what no earlier run has sent.

        Raises:
            ApiUnavailable, ApiRefused: it can't go on; what was accepted so far is in the journal.
        """
        self.score.found = len(files)
        remaining = await self._skip_known(files)
        self._on_change()
        await for_each(pack(remaining), self._deliver, at_once=REQUESTS_AT_ONCE)

    async def wait(self) -> None:
        """Wait until every image is `done` or in `error`; one that was deleted meanwhile is not waited for."""
        async for changed in self._client.follow(self.score.images):
            self.score.states.update(changed)
            self._on_change()

    async def _skip_known(self, files: Sequence[LocalFile]) -> list[LocalFile]:
        """Leave out files whose images the server still has; a journal alone may speak of a server that was wiped."""
        noted = {file: image_id for file in files if (image_id := self._journal.find(file)) is not None}
        there = await self._client.states(list(set(noted.values())))
        known = {file: image_id for file, image_id in noted.items() if image_id in there}
        self.score.skipped = len(known)
        self.score.images.update((image_id, file.path) for file, image_id in known.items())
        return [file for file in files if file not in known]

    async def _deliver(self, files: Sequence[LocalFile]) -> None:
        """Send one request; what fails for one file's sake is halved until that file is alone."""
        try:
            hashes = await asyncio.to_thread(_hash_all, files)
            answer = await self._client.upload(
                [FileUpload(file.upload_name, file.path) for file in files], self._fields
            )
        except (OSError, ImageTooLarge) as error:
            if len(files) > 1:
                middle = len(files) // 2
                await self._deliver(files[:middle])
                await self._deliver(files[middle:])
                return
            code = error.code if isinstance(error, ImageTooLarge) else "file_unreadable"
            self._reject(files[0], code, str(error))
        except ApiRefused as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise  # of no use for the other files either: no such folder, not allowed, …
            for file in files:
                self._reject(file, error.code, str(error))
        else:
            self._settle(files, hashes, answer)
        self._on_change()

    def _settle(self, files: Sequence[LocalFile], hashes: Sequence[str], answer: UploadAnswer) -> None:
        """Match files and answers by content: the server cleans names, and several files may have the same."""
        accepted: dict[str, list[Accepted]] = {}
        for image in reversed(answer.images):
            accepted.setdefault(image.sha256, []).append(image)
        turned_down = iter(answer.rejected)
        for file, sha256 in zip(files, hashes, strict=True):
            if accepted.get(sha256):
                self._accept(file, accepted[sha256].pop())
            elif (reason := next(turned_down, None)) is not None:
                self._reject(file, reason.code, reason.detail)
            else:
                self._reject(file, "file_changed", "it changed while it was read: import it again")

    def _accept(self, file: LocalFile, image: Accepted) -> None:
        self._journal.note(file, image.sha256, image.id)
        self.score.images[image.id] = file.path
        if image.duplicate:
            self.score.duplicates += 1
        else:
            self.score.accepted += 1

    def _reject(self, file: LocalFile, code: str, detail: str) -> None:
        self.score.rejected.append(NotAccepted(file.path, code, detail))


def _hash_all(files: Sequence[LocalFile]) -> list[str]:
    """Return the SHA-256 of each file's bytes, in hexadecimal. Blocks."""
    hashes = []
    for file in files:
        with file.path.open("rb") as opened:
            hashes.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return hashes
