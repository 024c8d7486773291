"""Ingest, from the first byte of the upload to the last image `done`, against a bare open_clip loop of the same run.

Both use ViT-B-32 with random weights, the same batch size and the same cores; they take turns, so that a machine that
changes its speed slows both. The pictures are those of the folder named by `LIKENESS_BENCH_PHOTOS`, or drawn ones.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks.bare_loop import MODEL
from tests.benchmarks.measurements import AtLeast, Measurements
from tests.fixtures.photos import drawn_photos
from tests.fixtures.stack import Stack, running_stack

BATCH = 16
PHOTOS = 300
PER_REQUEST = 75
ROUNDS = 3
TARGET = 0.80


def measure() -> Measurements:
    """Return images per second of both, round by round, and the ratio of their medians."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        _collect_photos(photos)
        bare: list[float] = []
        ingested: list[float] = []
        for number in range(ROUNDS):
            bare.append(_bare_loop(photos))
            ingested.append(_ingest(photos, Path(folder) / f"home{number}"))
        bare.append(_bare_loop(photos))
    ratio = statistics.median(ingested) / statistics.median(bare)
    return {"images_per_s": ingested, "bare_images_per_s": bare, "ratio": AtLeast(ratio, TARGET)}


def _collect_photos(folder: Path) -> None:
    folder.mkdir()
    given = os.environ.get("LIKENESS_BENCH_PHOTOS")
    if given:
        for number, path in enumerate(sorted(Path(given).rglob("*.jpg"))[:PHOTOS]):
            (folder / f"{number:04}.jpg").write_bytes(path.read_bytes())
        return
    for number, data in enumerate(drawn_photos(PHOTOS)):
        (folder / f"{number:04}.jpg").write_bytes(data)


def _bare_loop(photos: Path) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.bare_loop", str(photos), str(BATCH)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(output.splitlines()[-1])
    return float(result["images"] / result["seconds"])


def _ingest(photos: Path, home: Path) -> float:
    settings = {"EMBEDDER__MODEL": MODEL, "EMBEDDER__PRETRAINED": "random", "EMBEDDER__MAX_BATCH": str(BATCH)}
    with running_stack(home, **settings) as stack:
        _send(stack, list(drawn_photos(BATCH, seed=1)))  # warm-up
        files = [path.read_bytes() for path in sorted(photos.iterdir())]
        started = time.perf_counter()
        _send(stack, files)
        return len(files) / (time.perf_counter() - started)


def _send(stack: Stack, files: list[bytes]) -> None:
    """Upload in a few requests and wait until everything is searchable."""
    with httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client:
        ids: list[str] = []
        for start in range(0, len(files), PER_REQUEST):
            parts = [("file", ("a.jpg", data, "image/jpeg")) for data in files[start : start + PER_REQUEST]]
            response = client.post("/images/upload", files=parts)
            response.raise_for_status()
            ids += [image["id"] for image in response.json()["images"]]
        while True:
            states = client.post("/images/status", json={"ids": ids}).json()["images"]
            if all(state["status"] == "done" for state in states):
                return
            failed = [state for state in states if state["status"] == "error"]
            if failed:
                raise RuntimeError(f"ingest failed: {failed[0]}")
            time.sleep(0.25)
