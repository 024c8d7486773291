"""The system under fault, one per process of pytest, and the table of what became of the images."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from time import monotonic
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.checker import Outcome, check
from tests.faults.system import System, running_system
from tests.faults.traffic import Traffic

_ROW = "fault"
_WIDTH = 110

Verdict = Callable[..., Awaitable[Outcome]]


@pytest.fixture(scope="package")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Everything, started once; gone when these tests are over, as it is never idle."""
    async with running_system(tmp_path_factory.mktemp("faults") / "home") as system:
        yield system


@pytest.fixture
async def system(running: System) -> AsyncIterator[System]:
    """The system, whole; and whole again afterwards."""
    yield running
    await running.calm()


@pytest.fixture
def traffic(system: System) -> Traffic:
    """Uploads of this test."""
    return Traffic(system)


@pytest.fixture
def verdict(
    system: System,
    traffic: Traffic,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> Verdict:
    """End the fault, then check what was promised for all that was accepted; every test ends with it."""

    async def judge(*, since: float | None = None, **expected: Any) -> Outcome:
        ended = monotonic() if since is None else since
        await system.calm()
        outcome = await check(system, traffic.accepted, healing_since=ended, **expected)
        row = {
            "fault": _name(request.node.name),
            "images": outcome.images,
            "lost": len(outcome.lost),
            "doubled": len(outcome.doubled),
            "audit": sum(map(len, outcome.mismatches.values())),
            "tries": outcome.tries_spent,
            "healed_s": outcome.healed_s,
            "p99_s": traffic.p99_s(),
        }
        record_property(_ROW, json.dumps(row))
        assert outcome.clean, outcome
        return outcome

    return judge


def _name(test: str) -> str:
    """Return what a test is about: its parameter if it has one."""
    return test.partition("[")[2].removesuffix("]") or test.removeprefix("test_").replace("_", " ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    rows = [json.loads(value) for report in reports for name, value in report.user_properties if name == _ROW]
    if rows:
        terminalreporter.ensure_newline()
        Console(width=_WIDTH).print(_table(rows))


def _table(rows: Iterable[dict[str, Any]]) -> Table:
    table = Table(
        title="Faults", caption="audit: mismatches; tries: spent by silent deaths; p99: of an upload's answer"
    )
    table.add_column("fault")
    for column in ("images", "lost", "doubled", "audit", "tries", "healed in s", "p99 in s"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["fault"],
            *(str(row[name]) for name in ("images", "lost", "doubled", "audit", "tries")),
            *(f"{row[name]:.1f}" for name in ("healed_s", "p99_s")),
        )
    return table
