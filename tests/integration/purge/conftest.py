"""What the tests of purging share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.unreliable_index import UnreliableIndex
from tests.fixtures.indexes import unreliable_index


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[UnreliableIndex]:
    """An embedded index of the test's own."""
    async with unreliable_index(tmp_path) as opened:
        yield opened
