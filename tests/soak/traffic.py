"""What users do all day, against a running stack: upload, poll, search, browse, delete; and some send broken files."""

import random
import struct
import time
from collections import deque
from dataclasses import dataclass, field

import httpx

from tests.fixtures.photos import drawn_photos

_PATTERNS = 40
_PER_REQUEST = 20
_KEPT = 400
_IN_FLIGHT = 100
_SETTLE_S = 120
_COMMENT = b"\xff\xfe"  # a JPEG's comment segment
_QUERIES = ("a red circle on a blue background", "three yellow stars", "green hearts", "something black")


@dataclass
class Traffic:
    """One busy user. What was accepted is kept account of: it must be `done`, or in the right `error`, in the end."""

    client: httpx.Client
    rng: random.Random
    sent: int = 0
    whole: deque[str] = field(default_factory=deque)
    """Images that must become `done`, oldest first, as long as they are not deleted."""
    truncated: deque[str] = field(default_factory=deque)
    """Images that must end in `error`."""

    def __post_init__(self) -> None:
        self._patterns = list(drawn_photos(_PATTERNS))

    def round(self) -> None:
        """Upload some images, ask for others, delete the oldest; wait while too much is on its way."""
        self._upload()
        self._browse()
        while len(self.whole) > _KEPT:
            self._delete(self.whole.popleft())
        while len(self.truncated) > _PER_REQUEST:
            self._delete(self.truncated.popleft())
        while self._unfinished([*self.whole, *self.truncated]) > _IN_FLIGHT:
            time.sleep(0.1)

    def settle(self) -> None:
        """Wait until everything accepted has come to its end; raise `AssertionError` if one is the wrong end."""
        deadline = time.monotonic() + _SETTLE_S
        while self._unfinished([*self.whole, *self.truncated]):
            assert time.monotonic() < deadline, "accepted images do not come to an end"
            time.sleep(0.5)
        assert set(self._statuses(list(self.whole))) == {"done"}
        assert set(self._statuses(list(self.truncated))) <= {"error"}

    def _upload(self) -> None:
        images = [self._unique(self.rng.choice(self._patterns)) for _ in range(_PER_REQUEST)]
        broken = images[0][: len(images[0]) // 2]
        names = [*(f"{number}.jpg" for number in range(_PER_REQUEST)), "broken.jpg", "no.jpg"]
        files = [("file", item) for item in zip(names, [*images, broken, b"no image"], strict=True)]
        answer = self._ask("POST", "/images/upload", files=files).json()
        assert [item["filename"] for item in answer["rejected"]] == ["no.jpg"]
        for image in answer["images"]:
            (self.truncated if image["filename"] == "broken.jpg" else self.whole).append(image["id"])
        self.sent += len(answer["images"])

    def _unique(self, photo: bytes) -> bytes:
        """Make other bytes of the same picture."""
        noise = self.rng.randbytes(16)
        return photo[:2] + _COMMENT + struct.pack(">H", len(noise) + 2) + noise + photo[2:]

    def _browse(self) -> None:
        oldest = self.whole[0]
        self._ask("GET", "/search/text", params={"q": self.rng.choice(_QUERIES)})
        self._ask("GET", "/images", params={"limit": 50})
        self._ask("GET", f"/images/{oldest}", params={"include": "embedding,events"})
        if self._statuses([oldest]) == ["done"]:
            self._ask("GET", f"/images/{oldest}/similar")
            self._ask("GET", f"/images/{oldest}/thumbnail")
            self._ask("GET", f"/images/{oldest}/content")

    def _delete(self, image_id: str) -> None:
        self._ask("DELETE", f"/images/{image_id}")

    def _unfinished(self, ids: list[str]) -> int:
        return sum(status not in ("done", "error") for status in self._statuses(ids))

    def _statuses(self, ids: list[str]) -> list[str]:
        images = self._ask("POST", "/images/status", json={"ids": ids}).json()["images"]
        assert len(images) == len(ids), "accepted images are missing"
        return [image["status"] for image in images]

    def _ask(self, method: str, path: str, **request: object) -> httpx.Response:
        response = self.client.request(method, path, **request)  # type: ignore[arg-type] # handed on
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response
