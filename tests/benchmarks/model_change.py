"""A model change under load, on a whole local stack: `make model-change`.

Images are embedded by the demo model. While somebody searches and somebody uploads all the time, a second model is
filled, promoted, and rolled back. No request may fail; the pages of a search are by one model, whose vectors give the
scores that are shown; each switch takes less than a second; and the audit finds everything in order.
"""

import asyncio
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from pydantic import SecretStr

from common.db import embedding_models, embeddings, inventory, model_lifecycle
from common.db.embedding_models import label
from common.db.engine import Database
from common.settings import DatabaseSettings
from tests.fixtures.photos import drawn_photos
from tests.fixtures.stack import Stack, running_stack

SECOND = "likeness-demo/random"
IMAGES = int(os.environ.get("MODEL_CHANGE_IMAGES", "2000"))
SWITCH_S = 1.0
_PATTERNS = 40
_PER_REQUEST = 50
_CHECK_EVERY = 10
_COMMENT = b"\xff\xfe"  # a JPEG's comment segment


class Load:
    """Somebody who uploads and somebody who searches, each in a thread, until told to stop."""

    def __init__(self, url: str, ids: list[str], check: "ScoreCheck") -> None:
        self.ids = ids
        self.searches: Counter[str] = Counter()
        self.uploaded = 0
        self.failures: list[str] = []
        self._url = url
        self._check = check
        self._stop = threading.Event()
        self._rng = random.Random(7)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep both at it while inside."""
        threads = [threading.Thread(target=self._repeat, args=(step,)) for step in (self._search, self._upload)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _repeat(self, step: Any) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    step(client)
                except Exception as error:  # noqa: BLE001 - a thread's errors are told at the end
                    self.failures.append(repr(error))

    def _search(self, client: httpx.Client) -> None:
        image_id = self._rng.choice(self.ids)
        models: set[str] = set()
        cursor: dict[str, str] = {}
        for _ in range(3):
            answer = client.get(f"/images/{image_id}/similar", params={"limit": 20, **cursor})
            answer.raise_for_status()
            page = answer.json()
            models.add(page["model"])
            self._check.note(image_id, page)
            cursor = {"cursor": page["next_cursor"]}
        assert len(models) == 1, f"pages by {models}"
        client.get("/search/text", params={"q": "a red circle on a blue background"}).raise_for_status()
        self.searches[models.pop()] += 1

    def _upload(self, client: httpx.Client) -> None:
        self.ids.extend(upload(client, 4, self._rng))
        self.uploaded += 4
        time.sleep(0.2)


class ScoreCheck:
    """Every tenth page, held against the vectors of the model that is said to have ranked it."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._seen = 0
        self.pages: list[tuple[str, dict[str, Any]]] = []

    def note(self, image_id: str, page: dict[str, Any]) -> None:
        """Remember a page now and then."""
        self._seen += 1
        if self._seen % _CHECK_EVERY == 0:
            self.pages.append((image_id, page))

    async def run(self) -> None:
        """Raise `AssertionError` if a score is not that model's."""
        async with opened(self._url) as database, database.begin() as session:
            models = {label(model): model for model in await embedding_models.list_live(session)}
            for image_id, page in self.pages:
                ids = [UUID(image_id), *(UUID(result["image"]["id"]) for result in page["results"])]
                rows = await inventory.load(session, ids)
                vectors = await embeddings.find(
                    session, models[page["model"]].id, [row.sha256 for row in rows.values()]
                )
                query = vectors[rows[ids[0]].sha256]
                for result in page["results"]:
                    score = float(query @ vectors[rows[UUID(result["image"]["id"])].sha256])
                    assert abs(score - result["score"]) < 1e-3, f"{page['model']}: {result['score']} is not {score}"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Open the stack's database, connected already."""
    database = Database(DatabaseSettings(url=SecretStr(url), pool_size=1))
    try:
        await database.ping()
        yield database
    finally:
        await database.close()


def upload(client: httpx.Client, number: int, rng: random.Random) -> list[str]:
    """Upload pictures nobody has uploaded before; return their ids."""
    files = [("file", ("a.jpg", _unique(rng.choice(PATTERNS), rng), "image/jpeg")) for _ in range(number)]
    answer = client.post("/images/upload", files=files)
    answer.raise_for_status()
    ids = [image["id"] for image in answer.json()["images"]]
    settle(client, ids)
    return ids


def settle(client: httpx.Client, ids: list[str]) -> None:
    """Wait until all are `done`."""
    while True:
        states = Counter(image["status"] for image in client.post("/images/status", json={"ids": ids}).json()["images"])
        assert not states["error"], states
        if states["done"] == len(ids):
            return
        time.sleep(0.1)


PATTERNS = list(drawn_photos(_PATTERNS))


def _unique(photo: bytes, rng: random.Random) -> bytes:
    noise = rng.randbytes(16)
    return photo[:2] + _COMMENT + struct.pack(">H", len(noise) + 2) + noise + photo[2:]


def likeness(home: Path, *arguments: str) -> Any:
    """Run the command line on a stack; return its JSON."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE__URL"}
    ran = subprocess.run(
        [sys.executable, "-c", "from worker.cli import app; app()", *arguments, "--json"],
        env=environment | {"LIKENESS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


async def switch(url: str, *, back: bool) -> float:
    """Promote the second model, or roll back; return how long the transaction took."""
    async with opened(url) as database:
        started = time.perf_counter()
        async with database.begin() as session:
            await (model_lifecycle.roll_back(session) if back else model_lifecycle.promote(session, SECOND))
        return time.perf_counter() - started


def change(stack: Stack, home: Path) -> dict[str, Any]:
    """Fill, promote and roll back under load; return what was measured."""
    url = json.loads((home / "environment.json").read_text())["DATABASE__URL"]
    rng = random.Random(1)
    with httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client:
        ids = [id_ for _ in range(IMAGES // _PER_REQUEST) for id_ in upload(client, _PER_REQUEST, rng)]
    check = ScoreCheck(url)
    load = Load(stack.url, ids, check)
    with load.running():
        started = time.perf_counter()
        filled = likeness(home, "reembed", "--model", SECOND, "--follow")
        fill_s = time.perf_counter() - started
        promote_s = asyncio.run(switch(url, back=False))
        time.sleep(10)
        rollback_s = asyncio.run(switch(url, back=True))
        time.sleep(10)
    asyncio.run(check.run())
    audit = likeness(home, "audit")
    return {
        "images": len(load.ids),
        "uploaded_meanwhile": load.uploaded,
        "filled": filled["added"],
        "fill_s": fill_s,
        "promote_s": promote_s,
        "rollback_s": rollback_s,
        "searches": dict(load.searches),
        "pages_checked": len(check.pages),
        "failed_requests": load.failures[:5],
        "audit_found": audit["found"],
    }


def main() -> int:
    """Run it once; 1 if something was not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with running_stack(home, EMBEDDER__MODEL="demo", EMBEDDER__ALSO=SECOND) as stack:
            result = change(stack, home)
        # The same environment as before does for the next start, whichever model is active.
        with running_stack(home, EMBEDDER__MODEL="demo", EMBEDDER__ALSO=SECOND):
            pass
    print(json.dumps(result, indent=2))
    slow = max(result["promote_s"], result["rollback_s"]) >= SWITCH_S
    both = len(result["searches"]) == 2
    return int(slow or not both or bool(result["failed_requests"]) or result["audit_found"] > 0)


if __name__ == "__main__":
    sys.exit(main())
