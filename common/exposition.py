"""`/metrics`: what this process has counted or, where several share a port, what all of them have.

A service is one process and answers for itself. Where several processes of a service are behind one port, set
`PROMETHEUS_MULTIPROC_DIR` for them to a folder of their own that is empty when the service starts: each keeps its
values in files there, and whichever is scraped answers for all. What a gauge is then (the sum of those that live, or
their greatest, or the value set last) is decided where it is made; no gauge may ask a function for its value.
"""

import os
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from common.metrics import BUILD_INFO
from common.metrics_folder import VARIABLE

MEDIA_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call] # a third more lines, which nobody asks for


def expose(*registries: CollectorRegistry) -> bytes:
    """Write everything in Prometheus' text format: of these registries, by default of the common one."""
    BUILD_INFO.labels(_release(), platform.python_version()).set(1)
    folder = os.environ.get(VARIABLE, "")
    if not is_shared():
        return b"".join(map(generate_latest, registries or (REGISTRY,)))
    _forget_dead(Path(folder))
    shared = CollectorRegistry()
    MultiProcessCollector(shared, folder)  # type: ignore[no-untyped-call]
    return generate_latest(shared)


def is_shared() -> bool:
    """Tell whether this process answers for others as well."""
    return bool(os.environ.get(VARIABLE))


@cache
def _release() -> str:
    try:
        return version("likeness")
    except PackageNotFoundError:  # run from its source
        return "unknown"


def _forget_dead(folder: Path) -> None:
    """Take the gauges of processes that are gone out of the sum; what they have counted stays counted."""
    owners = {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}
    for pid in map(int, owners):
        if not _is_alive(pid):
            with suppress(FileNotFoundError):  # another process is scraped at the same moment, and was faster
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
