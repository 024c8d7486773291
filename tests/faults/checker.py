"""The judge of every fault test: nothing is lost, nothing is there twice, histories are legal, the audit is clean.

It asks the stores themselves, past the lines that tests break.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import numpy as np
from pydantic import SecretStr

from common.db.models import TRIES
from common.settings import S3Settings
from common.status import SETTLED, ImageStatus
from common.storage import S3ObjectStore, object_key, thumbnail_key
from common.tls import verify
from common.vectors.base import ROUNDING
from tests.faults.auditing import audit
from tests.faults.history import Event, read
from tests.faults.judged import Judged

HEALED_WITHIN_S = 180.0
"""When to give up waiting: long after the longest backoff, lease and sweep."""
_LOOK_S = 0.1
_PAGE = 1000
_UNSETTLED = """
SELECT count(*) FROM images
 WHERE id = ANY($1::uuid[]) AND (status <> ALL($2::text[]) OR status = 'done' AND payload_version <> indexed_version)"""


@dataclass(slots=True)
class Outcome:
    """What became of the images of one fault."""

    images: int
    healed_s: float = 0.0
    lost: list[str] = field(default_factory=list)
    """Accepted, and now without row, bytes, thumbnail or point, or in a state they should not be in."""
    doubled: list[str] = field(default_factory=list)
    """Rows of the same bytes, points without a `done` row, images finished twice."""
    illegal: list[str] = field(default_factory=list)
    """Histories and counts of tries that no sequence of legal moves explains."""
    mismatches: dict[str, list[str]] = field(default_factory=dict)
    """What an audit by the workers themselves finds, by kind."""
    tries_spent: int = 0
    """What the images of the fault have lost of their tries, in sum."""

    @property
    def clean(self) -> bool:
        """Whether all is as it must be."""
        return not (self.lost or self.doubled or self.illegal or self.mismatches)


@dataclass(slots=True)
class Stores:
    """What the stores hold, read once: all but the objects."""

    rows: dict[str, Any]
    histories: dict[str, list[Event]]
    embeddings: dict[str, bytes]
    points: dict[str, dict[str, Any]]


async def settle(system: Judged, ids: Sequence[str], within_s: float = HEALED_WITHIN_S) -> None:
    """Wait until the accepted images are `done` or in `error`; after the deadline the check tells which are not."""
    connection = await connect(system)
    deadline = monotonic() + within_s
    settled = [str(status) for status in SETTLED]
    try:
        while monotonic() < deadline:
            unsettled = await connection.fetchval(_UNSETTLED, ids, settled)
            if not unsettled:
                return
            await asyncio.sleep(_LOOK_S)
    finally:
        await connection.close()


async def check(
    system: Judged,
    ids: Sequence[str],
    *,
    healing_since: float,
    errors: Mapping[str, str] | None = None,
    deleted: Sequence[str] = (),
    within_s: float = HEALED_WITHIN_S,
) -> Outcome:
    """Wait until all is settled, then hold the stores against the promises.

    Args:
        system: what was broken, and is whole again.
        ids: every image that was accepted with 202.
        healing_since: when (by `monotonic`) the fault was over.
        errors: the images that must be in `error`, with their codes.
        deleted: those of `ids` that were deleted since: nothing may be left of them.
        within_s: how long healing may take.
    """
    kept = sorted(set(ids) - set(deleted))
    await settle(system, kept, within_s)
    healed_s = monotonic() - healing_since
    stores = await _read(system)
    outcome = judge(stores, kept, errors or {}, deleted)
    outcome.healed_s = healed_s
    outcome.lost += await _missing_objects(system, [stores.rows[id_] for id_ in kept if id_ in stores.rows])
    report = await audit(system)
    outcome.mismatches = {kind: [item.id for item in tally.items] for kind, tally in report.mismatches.items()}
    return outcome


def judge(stores: Stores, kept: Sequence[str], errors: Mapping[str, str], deleted: Sequence[str]) -> Outcome:
    """Hold what the stores hold against the promises; pure. The arguments are those of `check`."""
    outcome = Outcome(images=len(kept) + len(deleted))
    for id_ in kept:
        _check_image(stores, id_, errors.get(id_), outcome)
    _check_points(stores, outcome)
    outcome.doubled += [f"{id_}: deleted, and still there" for id_ in deleted if id_ in stores.rows]
    return outcome


def _check_image(stores: Stores, id_: str, error: str | None, outcome: Outcome) -> None:
    row = stores.rows.get(id_)
    if row is None:
        outcome.lost.append(f"{id_}: no row")
        return
    wanted = ("error", error) if error else ("done", None)
    if (row["status"], row["error_code"]) != wanted:
        outcome.lost.append(f"{id_}: {row['status']} {row['error_code'] or ''}, should be {wanted}")
        return
    walk = read(stores.histories[id_])
    outcome.illegal += [f"{id_}: {problem}" for problem in walk.problems]
    if row["status"] == ImageStatus.DONE:
        # The claim that led to `done` cost a try as well; a requeue gives all back.
        spent = TRIES - 1 - row["tries_left"]
        outcome.tries_spent += spent
        if not walk.requeues and not 0 <= spent <= walk.reclaims:
            told = "; ".join(map(str, stores.histories[id_]))
            outcome.illegal.append(f"{id_}: {spent} tries spent by {walk.reclaims} leases that ran out ({told})")
        if walk.finishes != 1:
            outcome.doubled.append(f"{id_}: finished {walk.finishes} times")


def _check_points(stores: Stores, outcome: Outcome) -> None:
    """Every `done` image of the whole database has its point and no other one is there."""
    done = {id_: row for id_, row in stores.rows.items() if row["status"] == ImageStatus.DONE}
    outcome.lost += [f"{id_}: no point" for id_ in done.keys() - stores.points.keys()]
    outcome.doubled += [f"{id_}: a point without a `done` row" for id_ in stores.points.keys() - done.keys()]
    for id_ in done.keys() & stores.points.keys():
        row, point = done[id_], stores.points[id_]
        vector = np.frombuffer(stores.embeddings.get(row["sha256"], b""), dtype="<f4")
        if vector.shape != (len(point["vector"]),) or not np.allclose(vector, point["vector"], rtol=0, atol=ROUNDING):
            outcome.lost.append(f"{id_}: its point is not its embedding")
        if (point["payload"].get("category"), point["payload"]["tags"]) != (row["category"], row["tags"]):
            outcome.lost.append(f"{id_}: the edit of its category or tags")
    contents = [(row["folder_id"], row["sha256"]) for row in stores.rows.values()]
    if len(contents) != len(set(contents)):
        outcome.doubled.append("two rows of one folder have the same bytes")


@asynccontextmanager
async def object_store(system: Judged) -> AsyncIterator[S3ObjectStore]:
    """Open the object store past the line that tests break."""
    settings = S3Settings(
        endpoint=system.stores.s3_endpoint,
        access_key=system.stores.s3_access_key,
        secret_key=SecretStr(system.stores.s3_secret_key),
        bucket=system.stores.bucket,
    )
    store = S3ObjectStore(settings)
    try:
        yield store
    finally:
        await store.close()


async def _missing_objects(system: Judged, rows: Sequence[Any]) -> list[str]:
    keys = [object_key(row["sha256"]) for row in rows]
    keys += [thumbnail_key(row["sha256"]) for row in rows if row["status"] == ImageStatus.DONE]
    async with object_store(system) as store:
        found = await asyncio.gather(*map(store.find, keys))
    return [f"{key}: not in the object store" for key, object_ in zip(keys, found, strict=True) if object_ is None]


async def _read(system: Judged) -> Stores:
    connection = await connect(system)
    try:
        rows = await connection.fetch("SELECT * FROM images")
        events = await connection.fetch(
            "SELECT image_id, from_status, to_status, attempt, error_code FROM image_events ORDER BY id"
        )
        embeddings = await connection.fetch("SELECT sha256, vector FROM embeddings")
        collections = await connection.fetch("SELECT collection FROM embedding_models")
    finally:
        await connection.close()
    histories: dict[str, list[Event]] = {str(row["id"]): [] for row in rows}
    for event in events:
        before = ImageStatus(event["from_status"]) if event["from_status"] else None
        after = ImageStatus(event["to_status"])
        histories[str(event["image_id"])].append(Event(before, after, event["attempt"], event["error_code"]))
    points: dict[str, dict[str, Any]] = {}
    for collection in collections:
        points |= await _points(system, collection["collection"])
    return Stores(
        rows={str(row["id"]): row for row in rows},
        histories=histories,
        embeddings={row["sha256"]: row["vector"] for row in embeddings},
        points=points,
    )


async def _points(system: Judged, collection: str) -> dict[str, dict[str, Any]]:
    points: dict[str, dict[str, Any]] = {}
    offset, url = None, system.vectors_url
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=verify(url)) as client:
        while True:
            body = {"limit": _PAGE, "offset": offset, "with_payload": True, "with_vector": True}
            response = await client.post(f"/collections/{collection}/points/scroll", json=body)
            response.raise_for_status()
            result = response.json()["result"]
            points |= {str(UUID(record["id"])): record for record in result["points"]}
            offset = result["next_page_offset"]
            if offset is None:
                return points


async def codes(system: Judged, ids: Sequence[str]) -> set[str]:
    """Return why attempts at these images have failed so far."""
    connection = await connect(system)
    try:
        found = await connection.fetch(
            "SELECT DISTINCT error_code FROM image_events WHERE image_id = ANY($1::uuid[]) AND error_code IS NOT NULL",
            ids,
        )
    finally:
        await connection.close()
    return {row["error_code"] for row in found}


async def connect(system: Judged) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection past the line that tests break."""
    return await asyncpg.connect(system.stores.database_url.replace("+asyncpg", ""))
