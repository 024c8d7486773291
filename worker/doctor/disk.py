"""Where this machine writes: whether there is room, and whether it may."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, ok
from worker.doctor.settings import Limits

SPACE, WRITABLE = "space", "writable"

_MIN_FILES = 10_000


def examination(folder: Path, purpose: str, limits: Limits) -> Examination:
    """Return what there is to check of a folder; `purpose` says what is written there."""
    return Examination("disk", str(folder), (WRITABLE, SPACE), lambda: _examine(folder, purpose, limits), "TMPDIR")


def folders(home: Path | None, index: Path | None) -> Sequence[tuple[Path, str]]:
    """Return the folders that there are, each with what is written there.

    Args:
        home: of the local stack, if that is what is examined.
        index: of the embedded vector index, if there is one.
    """
    found = [(Path(tempfile.gettempdir()), "uploads and downloads on their way")]
    if home is not None:
        found.append((home, "everything the local stack keeps"))
    elif index is not None and index.is_dir():
        found.append((index, "the vector index"))
    return found


async def _examine(folder: Path, purpose: str, limits: Limits) -> Findings:
    if not os.access(folder, os.W_OK | os.X_OK):
        yield failed(WRITABLE, f"{folder} can't be written", f"Give the services a folder they can write ({purpose}).")
        return
    yield ok(WRITABLE, f"can be written: {purpose}")
    files = os.statvfs(folder)
    yield judge_space(folder, shutil.disk_usage(folder).free, files.f_favail if files.f_files else None, limits)


def judge_space(folder: Path, free: int, files: int | None, limits: Limits) -> Finding:
    """Say whether there is room for files: bytes, and how many more files (None: as many as there is room for)."""
    remedy = (
        f"Make room: `du -xh {folder} | sort -h | tail` shows what takes it; or move the folder to a larger disk. "
        "DOCTOR__MIN_FREE_BYTES says how much is enough."
    )
    if free < limits.min_free_bytes:
        return failed(SPACE, f"{free / 1e9:.1f} GB free of the {limits.min_free_bytes / 1e9:.1f} GB wanted", remedy)
    if files is not None and files < _MIN_FILES:
        return failed(SPACE, f"only {files} more files can be made, whatever is free", remedy)
    return ok(SPACE, f"{free / 1e9:.1f} GB free")
