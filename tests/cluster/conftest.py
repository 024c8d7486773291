"""The cluster, one per process of pytest, and the table of what became of the work."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from deploy.local.stores import Stores
from tests.cluster.system import Cluster, running_cluster
from tests.faults.traffic import Traffic
from tests.fixtures.database import cloned
from tests.fixtures.stores import empty_bucket

_ROW = "cluster"
_COLUMNS = ("processes", "uploads", "searches", "failed", "lost", "tries")

Note = Callable[..., None]


@pytest.fixture(scope="package")
async def cluster(stores: Stores, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Everything, started once."""
    async with (
        cloned(stores, migrated) as database_url,
        empty_bucket(stores, "test"),
        running_cluster(tmp_path_factory.mktemp("cluster") / "home", stores, database_url, "test") as running,
    ):
        yield running


@pytest.fixture
def traffic(cluster: Cluster) -> Traffic:
    """Uploads of this test."""
    return Traffic(cluster)


@pytest.fixture
def note(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Note:
    """Keeps a row of the table that is printed in the end."""
    name = request.node.name.removeprefix("test_").replace("_", " ")
    return lambda **row: record_property(_ROW, json.dumps({"what": name, **row}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    rows = [json.loads(value) for report in reports for name, value in report.user_properties if name == _ROW]
    if rows:
        terminalreporter.ensure_newline()
        Console(width=110).print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Cluster", caption="processes: killed or restarted; failed: requests that were not answered well"
    )
    table.add_column("what")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row["what"], *(str(row.get(column, "")) for column in _COLUMNS))
    return table
