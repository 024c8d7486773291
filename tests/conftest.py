"""Fixtures every test may ask for."""

from collections.abc import Iterator

import pytest

from deploy.local.stores import Stores
from tests.fixtures.stores import running_stores

pytest_plugins = ["tests.fixtures.children", "tests.fixtures.cli", "tests.fixtures.database", "tests.fixtures.services"]


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """PostgreSQL, Redis and S3, started once per test session. Tests make databases of their own in it."""
    with running_stores(tmp_path_factory.mktemp("stores")) as running:
        yield running
