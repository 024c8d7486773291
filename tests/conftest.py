"""Fixtures every test may ask for."""

import os
from collections.abc import Iterator

import pytest

from deploy.local.stores import Stores
from tests.fixtures.stores import running_stores

pytest_plugins = ["tests.fixtures.children", "tests.fixtures.cli", "tests.fixtures.database", "tests.fixtures.services"]

_SLOW_TO_START = ("running", "embedder_url")


def pytest_configure(config: pytest.Config) -> None:
    """Measure the coverage of what runs in pytest's own processes; the services they start run as fast as ever."""
    if hasattr(config, "workerinput"):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run the tests that share something slow to start in one process, so that it is started once."""
    for name in _SLOW_TO_START:
        if name in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """PostgreSQL, Redis and S3, started once per test session. Tests make databases of their own in it."""
    with running_stores(tmp_path_factory.mktemp("stores")) as running:
        yield running
