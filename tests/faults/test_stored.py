"""What was stored goes missing, rots, or finds no room."""

import asyncio
import hashlib
from io import BytesIO

import httpx
import numpy as np
from PIL import Image

from common.imaging import ImageFormat
from common.storage import object_key
from tests.faults.auditing import audit
from tests.faults.checker import codes, object_store, settle
from tests.faults.conftest import Verdict
from tests.faults.system import System
from tests.faults.traffic import Traffic, pictures
from tests.fixtures.pictures import encode
from tests.fixtures.uploading import upload

_LOOK_S = 0.05


async def test_objects_missing_or_corrupt(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """No try is spent however often an attempt finds no bytes, or wrong ones; once they are right, it is `done`."""
    system.orders.give("claimed", "hold")
    missing, corrupt = pictures(2)
    ids = await traffic.send(missing, corrupt)
    async with object_store(system) as store:
        await store.delete(_key(missing))
        await store.put(_key(corrupt), BytesIO(bytes(len(corrupt))), len(corrupt), "image/jpeg")
        system.orders.clear()
        await until_failed(system, ids, {"object_not_found", "object_corrupt"})
        for data in (missing, corrupt):
            await store.put(_key(data), BytesIO(data), len(data), "image/jpeg")
    outcome = await verdict()
    assert outcome.tries_spent == 0


async def test_collection_lost(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """What is on its way arrives in a new collection; what was there before comes back without any model."""
    await traffic.send(*pictures(4))
    await settle(system, traffic.accepted)
    system.orders.give("embedded", "hold")
    await traffic.send(*pictures(4))
    async with httpx.AsyncClient(base_url=system.vectors_url, trust_env=False) as client:
        for collection in (await client.get("/collections")).json()["result"]["collections"]:
            (await client.delete(f"/collections/{collection['name']}")).raise_for_status()
    system.orders.clear()
    await settle(system, traffic.accepted)
    await system.embedder.kill()
    assert (await audit(system, fix=True)).left == 0
    await settle(system, traffic.accepted)
    outcome = await verdict()
    assert outcome.tries_spent == 0


async def test_disk_full_for_temporary_files(system: System, traffic: Traffic, verdict: Verdict) -> None:
    large = noise(1)
    system.api.limit_files(len(large) // 2)
    answer = await upload(system.client, large)
    assert (answer.status_code, answer.json()["code"]) == (503, "spool_unavailable")
    await traffic.send(*pictures(2))  # what needs no file goes on
    system.api.lift_limit()
    await traffic.send(large)
    outcome = await verdict()
    assert outcome.tries_spent == 0


async def test_disk_full_for_objects(system: System, traffic: Traffic, verdict: Verdict) -> None:
    """Uploads are refused with a clear error, thumbnails wait; when there is room again, all goes on by itself."""
    system.orders.give("decoded", "hold")
    ids = await traffic.send(*pictures(2))
    system.seaweedfs.limit_files(0)
    answer = await upload(system.client, noise(2))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    system.orders.clear()
    await until_failed(system, ids, {"storage_unavailable"})
    system.seaweedfs.lift_limit()
    await traffic.send(noise(2))
    outcome = await verdict()
    assert outcome.tries_spent == 0


def noise(seed: int) -> bytes:
    """Return a picture that no compression makes small, so it is spooled to a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), ImageFormat.PNG)


async def until_failed(system: System, ids: list[str], expected: set[str]) -> None:
    """Wait until attempts at these images have failed in every way that is expected."""
    async with asyncio.timeout(60):
        while not expected <= await codes(system, ids):  # noqa: ASYNC110 - in the workers
            await asyncio.sleep(_LOOK_S)


def _key(data: bytes) -> str:
    return object_key(hashlib.sha256(data).hexdigest())
