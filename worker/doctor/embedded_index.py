"""The embedded vector index. It is never opened here: only one process may have it open, and that is not this one."""

import asyncio
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from common.db.embedding_models import label
from common.db.models import EmbeddingModel
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, ok
from worker.doctor.live_models import REFILL, FindModels, without_models
from worker.doctor.qdrant import COLLECTION, judge_vectors

SETTING = "QDRANT__PATH"

FOLDER, LOCK = "folder", "lock"


def examination(path: Path, models: FindModels) -> Examination:
    """Return what there is to check."""
    return Examination("qdrant", str(path), (FOLDER, LOCK, COLLECTION), lambda: _examine(path, models), SETTING)


async def _examine(path: Path, models: FindModels) -> Findings:
    yield (folder := _judge_folder(path))
    if is_failure(folder):
        return
    yield await asyncio.to_thread(_look_at_lock, path)
    live = await models()
    for finding in without_models(COLLECTION, live):
        yield finding
    for model in live or ():
        yield await asyncio.to_thread(_judge_collection, path, model)


def _judge_folder(path: Path) -> Finding:
    if path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return ok(FOLDER, "can be written")
    if path.exists():
        remedy = f"`chown -R {os.geteuid()} {path}`, or run this as the user who runs the services."
        return failed(FOLDER, f"{path} is no folder that this user can write", remedy)
    remedy = f"It is made when the service starts that has it. If one runs, correct {SETTING}."
    return failed(FOLDER, f"{path} does not exist", remedy)


def _look_at_lock(path: Path) -> Finding:
    """Say whether a process has the index open. A lock that is free is held for no longer than it takes to see that."""
    try:
        descriptor = os.open(path / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return ok(LOCK, "no process has had it open yet")
    except OSError as error:
        remedy = f"`chown -R {os.geteuid()} {path}`, or run this as the user who runs the services."
        return failed(LOCK, f"its lock can't be looked at: {error.strerror}", remedy)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return ok(LOCK, "a process has it open, so it is not opened here; no second one can have it")
    finally:
        os.close(descriptor)
    return ok(LOCK, "no process has it open")


def _judge_collection(path: Path, model: EmbeddingModel) -> Finding:
    vectors = _read_vectors(path / model.collection)
    what = f"{model.collection} of {label(model)}"
    if vectors is None:
        return failed(COLLECTION, f"{what} does not exist", f"Restart the service, which makes it; {REFILL}")
    if (vectors.get("size"), vectors.get("distance")) != (model.dim, "Cosine"):
        return judge_vectors(model, vectors, "a folder of its own")
    return ok(COLLECTION, f"{what}: {model.dim} numbers, Cosine")


def _read_vectors(folder: Path) -> dict[str, Any] | None:
    """Return what the engine has written down of a collection's vectors."""
    try:
        vectors = json.loads((folder / "edge_config.json").read_bytes())["vectors"][""]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return vectors if isinstance(vectors, dict) else {}
