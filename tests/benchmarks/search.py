"""What a search costs beside its vector query, in a stack as `make run` starts it, with 50,000 images.

The rows and vectors are made up; `likeness audit --fix` fills the index with them. The bare query is asked of a copy of
that index, in this process. Both take turns, so that a machine that changes its speed slows both.
"""

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
import numpy as np

from common.connection_file import FILE_NAME
from common.db.criteria import NEVER
from common.db.models import LOCAL_OWNER_ID
from common.settings import QdrantSettings
from common.vectors.base import Collection, Filter, VectorIndex
from common.vectors.factory import create_vector_index
from tests.benchmarks.measurements import AtMost, Measurements
from tests.contracts.brute_force import vectors
from tests.fixtures.photos import drawn_photos
from tests.fixtures.stack import running_stack

IMAGES = 50_000
ROUNDS = 15
PER_ROUND = 60
LOADED_S = 30.0
ADDED_TARGET_MS = 3.0
TAIL_TARGET = 4.0
LIMIT = 20
TEXT = "a red circle on a blue background"

_FILL = """
WITH made AS (
    INSERT INTO images (id, owner_id, folder_id, sha256, object_key, filename, media_type, byte_size, width, height,
                        status, model_id, indexed_at, indexed_version, compared_by)
    SELECT gen_random_uuid(), owner_id, folder_id, hash, 'sha256/' || hash, 'made up', media_type, 1, 1, 1,
           'done', model_id, now(), 1, compared_by
      FROM images, unnest($1::text[]) AS hash
     WHERE images.id = $3
    RETURNING sha256, model_id)
INSERT INTO embeddings (sha256, model_id, vector)
SELECT made.sha256, made.model_id, given.vector
  FROM made JOIN unnest($1::text[], $2::bytea[]) AS given(sha256, vector) USING (sha256)"""
_BATCH = 5_000
_WARM_UP_S = 5.0
_SETTLE_S = 15.0
"""How long the machine is at work with what was filled in: without it, searches take half as long again."""


def measure() -> Measurements:
    """Return medians in milliseconds, what the searches add to the bare query, and how long the tail is under load."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with running_stack(home, EMBEDDER__MODEL="demo") as stack:
            return _Bench(stack.url, home, Path(folder) / "copy").run()


class _Bench:
    def __init__(self, url: str, home: Path, copy: Path) -> None:
        self._url = url
        self._home = home
        self._copy = copy
        self._client = _Client(url)

    def run(self) -> Measurements:
        image_id, vector = self._upload()
        asyncio.run(self._fill(image_id, len(vector)))
        self._index()
        time.sleep(_SETTLE_S)
        self._client.connect()  # the server closes a connection that idles so long
        by_id = f"/images/{image_id}/similar?limit={LIMIT}"
        by_text = f"/search/text?q={quote(TEXT)}&limit={LIMIT}"
        bare, similar, text = asyncio.run(self._compare(np.array(vector, dtype=np.float32), by_id, by_text))
        loaded = self._under_load(by_id)
        return {
            "bare_query_ms": bare,
            "similar_ms": similar,
            "cached_text_ms": text,
            "similar_adds_ms": AtMost(similar - bare, ADDED_TARGET_MS),
            "cached_text_adds_ms": AtMost(text - bare, ADDED_TARGET_MS),
            "loaded_p50_ms": statistics.median(loaded),
            "loaded_p99_ms": float(np.percentile(loaded, 99)),
            "loaded_p99/p50": AtMost(float(np.percentile(loaded, 99)) / statistics.median(loaded), TAIL_TARGET),
        }

    def _upload(self) -> tuple[str, list[float]]:
        """Upload one picture; return its id and its vector when it is searchable."""
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            (photo,) = drawn_photos(1)
            (image,) = client.post("/images/upload", files={"file": ("a.jpg", photo)}).json()["images"]
            while True:
                found = client.get(f"/images/{image['id']}", params={"include": "embedding"}).json()
                if found["status"] == "done":
                    return image["id"], found["embedding"]
                time.sleep(0.1)

    async def _fill(self, like: str, dim: int) -> None:
        """Make up rows and vectors like those of an image, once its duplicates were looked for: theirs are not then."""
        variables = json.loads((self._home / FILE_NAME).read_text())
        database = await asyncpg.connect(variables["DATABASE__URL"].replace("+asyncpg", ""))
        try:
            while await database.fetchval("SELECT compared_by FROM images WHERE id = $1", like) == NEVER:  # noqa: ASYNC110 - in the worker
                await asyncio.sleep(0.1)
            made = vectors(IMAGES, seed=5, dim=dim)
            for start in range(0, IMAGES, _BATCH):
                batch = made[start : start + _BATCH].astype("<f4")
                hashes = [f"{start + number:064x}" for number in range(len(batch))]
                await database.execute(_FILL, hashes, [vector.tobytes() for vector in batch], like)
            await database.execute("VACUUM ANALYZE")  # or PostgreSQL does so while searches are measured
        finally:
            await database.close()

    def _index(self) -> None:
        """Have an audit index what was made up. That it has no bytes is found as well, so the audit says 1."""
        audit = subprocess.run(
            [sys.executable, "-c", "from worker.cli import app; app()", "audit", "--fix", "--json"],
            env=os.environ | {"LIKENESS_HOME": str(self._home)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if audit.returncode != 1:
            raise RuntimeError(f"the audit ended with {audit.returncode}")

    async def _compare(self, vector: Any, by_id: str, by_text: str) -> tuple[float, float, float]:
        shutil.copytree(self._home / "qdrant", self._copy)
        index = create_vector_index(QdrantSettings(path=self._copy, timeout_s=60))
        try:
            name = next(path.name for path in self._copy.iterdir() if path.is_dir() and not path.name.startswith("."))
            collection = Collection(name, len(vector))
            await index.ensure(collection)
            assert await index.count(collection) == IMAGES + 1
            rounds: list[tuple[float, float, float]] = []
            for _ in range(ROUNDS):
                bare = await _time_queries(index, collection, vector)
                similar = await asyncio.to_thread(self._time_requests, by_id)
                text = await asyncio.to_thread(self._time_requests, by_text)
                rounds.append((bare, similar, text))
        finally:
            await index.close()
        bares, similars, texts = zip(*rounds, strict=True)
        return statistics.median(bares), statistics.median(similars), statistics.median(texts)

    def _time_requests(self, path: str) -> float:
        """Return the median of some requests, in milliseconds."""
        return statistics.median(self._time_request(path) for _ in range(PER_ROUND))

    def _under_load(self, path: str) -> list[float]:
        """Return how long requests take, in milliseconds, while another process uploads."""
        uploads = [sys.executable, "-m", "tests.benchmarks.uploads", self._url, str(LOADED_S + _WARM_UP_S)]
        with subprocess.Popen(uploads) as uploading:
            time.sleep(_WARM_UP_S)
            self._client.connect()  # the server closes a connection that idles so long
            taken: list[float] = []
            until = time.perf_counter() + LOADED_S
            while time.perf_counter() < until:
                taken.append(self._time_request(path))
                time.sleep(0.02)
            assert uploading.wait() == 0
        return taken

    def _time_request(self, path: str) -> float:
        """Return how long a request takes, in milliseconds; what is answered is looked at after that."""
        started = time.perf_counter()
        head, body = self._client.get(path)
        taken = (time.perf_counter() - started) * 1000
        # Under load, what is being deleted may still be in the index, and is left out of the answer.
        if not head.startswith(b"HTTP/1.1 200 ") or not json.loads(body)["results"]:
            raise RuntimeError(f"{path} was answered {head!r}: {body[:200]!r}")
        return taken


class _Client:
    """A connection, and no more than has to be around it: what a client takes is not the search's."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.connect()

    def connect(self) -> None:
        """Connect, or anew."""
        host, _, port = self._host.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)

    def get(self, path: str) -> tuple[bytes, bytes]:
        """Return the head and the body of an answer."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        while len(body) < length:
            body += self._receive()
        return head, body

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        return data


async def _time_queries(index: VectorIndex, collection: Collection, vector: Any) -> float:
    """Return the median of some bare queries, in milliseconds."""
    taken = []
    for _ in range(PER_ROUND):
        started = time.perf_counter()
        await index.query(collection, vector, filter=Filter(LOCAL_OWNER_ID), limit=LIMIT)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)
