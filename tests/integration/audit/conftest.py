"""What the audit's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.db.engine import Database
from deploy.local.stores import Stores
from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.auditing import Collected
from tests.fixtures.indexes import unreliable_index
from tests.fixtures.rows import activate_model
from tests.fixtures.stores import empty_bucket


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[UnreliableIndex]:
    """An embedded index of the test's own."""
    async with unreliable_index(tmp_path) as opened:
        yield opened


@pytest.fixture
async def collected(stores: Stores, database: Database, index: UnreliableIndex) -> AsyncIterator[Collected]:
    """No images yet, on stores of the test's own."""
    async with empty_bucket(stores, "audit") as storage:
        yield Collected(database, storage, index, await activate_model(database))
