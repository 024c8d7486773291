"""`docs/metrics.md` has every metric as the code has it, and none that is not there.

Which service tells which is held against running ones: `tests/integration/api/test_metrics.py`, and `tests/faults/`.
"""

import pytest

from tests.fixtures.metrics_document import SERVICES, Declared, declared, documented, documented_table, table


@pytest.fixture(scope="module")
def metrics() -> dict[str, Declared]:
    return declared(*SERVICES)


def test_the_document_is_true(metrics: dict[str, Declared]) -> None:
    services = {name: metric.services for name, metric in documented().items()}
    expected = table(metrics, services)
    assert documented_table() == expected, "write it anew: python -m tests.fixtures.metrics_document"
    assert {service for told in services.values() for service in told} == set(SERVICES)


def test_names_follow_the_conventions(metrics: dict[str, Declared]) -> None:
    for metric in metrics.values():
        assert metric.name.startswith("likeness_")
        assert not metric.name.endswith(("_ms", "_minutes", "_kb", "_percent")), "base units alone"
        assert metric.type in {"counter", "gauge", "histogram"}, "no others work in several processes"
        assert metric.meaning.endswith(".")


def test_gauges_say_what_becomes_of_several_processes(metrics: dict[str, Declared]) -> None:
    modes = {metric.name: metric.mode for metric in metrics.values() if metric.type == "gauge"}
    assert modes, "or the next line says nothing"
    assert {name for name, mode in modes.items() if mode in (None, "all", "liveall")} == set(), "a label by process"
