"""The promise, on the stack that `make run` starts: nothing accepted is lost, restarts change nothing."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.photos import drawn_photos
from tests.fixtures.stack import Stack, running_stack

PHOTOS = 300
PER_REQUEST = 10
HEALED_WITHIN_S = 200
# What the dead workers held is claimed again when their lease has run out.
SETTINGS = {"EMBEDDER__MODEL": "demo", "WORKER__LEASE_S": "10"}


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return list(drawn_photos(PHOTOS))


def upload(client: httpx.Client, photos: Sequence[bytes]) -> list[str]:
    files = [("file", (f"{number}.jpg", data, "image/jpeg")) for number, data in enumerate(photos)]
    response = client.post("/images/upload", files=files)
    assert response.status_code == 202, response.text
    assert response.json()["rejected"] == []
    return [image["id"] for image in response.json()["images"]]


def wait_until_done(client: httpx.Client, ids: list[str]) -> None:
    deadline = time.monotonic() + HEALED_WITHIN_S
    while True:
        images = client.post("/images/status", json={"ids": ids}).json()["images"]
        assert len(images) == len(ids), "accepted images are missing"
        statuses = {image["status"] for image in images}
        assert "error" not in statuses
        if statuses == {"done"}:
            return
        assert time.monotonic() < deadline, statuses
        time.sleep(0.2)


def answers(client: httpx.Client, ids: list[str]) -> dict[str, Any]:
    found = {}
    for id_ in ids:
        results = client.get(f"/images/{id_}/similar", params={"limit": 10}).json()["results"]
        assert id_ not in {result["image"]["id"] for result in results}
        found[id_] = [(result["image"]["id"], round(result["score"], 5)) for result in results]
    return found


def connect(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.url, timeout=60, trust_env=False)


def upload_until_the_power_is_cut(stack: Stack, photos: Sequence[bytes]) -> list[str]:
    """Upload photos in small requests, kill everything in the middle; return the ids that were answered with 202."""
    accepted: list[str] = []

    def send() -> None:
        with connect(stack) as client:
            for start in range(0, PHOTOS, PER_REQUEST):
                accepted.extend(upload(client, photos[start : start + PER_REQUEST]))

    with ThreadPoolExecutor(1) as threads:
        try:
            sending = threads.submit(send)
            while len(accepted) < PHOTOS // 2 and not sending.done():
                time.sleep(0.01)
        finally:
            stack.kill()
        with pytest.raises(httpx.TransportError):
            sending.result()
    assert PHOTOS // 2 <= len(accepted) < PHOTOS
    return accepted


@pytest.mark.timeout(600)
def test_what_is_accepted_survives_the_death_of_everything_and_restarts_change_nothing(
    tmp_path: Path, photos: list[bytes]
) -> None:
    home = tmp_path / "home"
    accepted = upload_until_the_power_is_cut(Stack.start(home, **SETTINGS), photos)
    with running_stack(home, **SETTINGS) as stack, connect(stack) as client:
        wait_until_done(client, accepted)
        ids = [id_ for start in range(0, PHOTOS, 75) for id_ in upload(client, photos[start : start + 75])]
        assert len(set(ids)) == PHOTOS
        assert set(accepted) < set(ids)
        wait_until_done(client, ids)
        before = answers(client, ids[::30])
        assert all(len(results) == 10 for results in before.values())
    with running_stack(home, **SETTINGS) as stack, connect(stack) as client:
        assert answers(client, ids[::30]) == before
