"""Fixtures every test may ask for."""

import gc
import os
from collections.abc import Generator, Iterator

import pytest
import structlog
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from deploy.local.stores import Stores
from tests.fixtures.stores import running_stores

pytest_plugins = ["tests.fixtures.children", "tests.fixtures.cli", "tests.fixtures.database", "tests.fixtures.services"]

_TOGETHER = {
    "the system under fault": ("tests/faults/",),
    "the embedder": (
        "tests/integration/api/",
        "tests/integration/audit/test_lost_collection.py",
        "tests/integration/test_embedder.py",
        "tests/integration/test_gate.py",
        "tests/integration/test_worker.py",
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    """Measure the coverage of what runs in pytest's own processes; the services they start run as fast as ever."""
    # The dozens of processes that tests start spend half of their start compiling what they import: once will do.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Two processes of pytest and their services share the cores: threads that wait for each other only heat them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The settings of whoever runs the tests are none of theirs.
    os.environ["LIKENESS_ENV_FILE"] = ""
    os.environ.pop("LIKENESS_CONFIG", None)
    if hasattr(config, "workerinput"):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    # What structlog does unless told otherwise, a picture of every local variable, takes seconds for each traceback.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Keep the garbage collector from going through all that is imported, while it is and ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Have `--dist loadfile` keep together what shares something slow to start, so that it is started once."""
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


class _Scheduling(LoadFileScheduling):  # type: ignore[misc] # untyped
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((group for group, paths in _TOGETHER.items() if file.startswith(paths)), file)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """PostgreSQL, Redis and S3, started once per test session. Tests make databases of their own in it."""
    with running_stores(tmp_path_factory.mktemp("stores")) as running:
        yield running
