"""`docs/metrics.md` has every metric as the code has it, and none that is not there.

Which service tells which is held against running ones: `tests/integration/api/test_metrics.py`, and `tests/faults/`.
"""

import re
from collections.abc import Iterable

import pytest

from common.error_metrics import CLASSES
from common.metrics import METHODS
from common.status import ImageStatus
from tests.fixtures.metrics_document import (
    DOCUMENT,
    SERVICES,
    Declared,
    declared,
    documented,
    documented_labels,
    documented_table,
    table,
)
from worker.audit.report import Mismatch


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


def test_every_label_is_explained(metrics: dict[str, Declared]) -> None:
    explained = documented_labels()
    assert explained.keys() == {label for metric in metrics.values() for label in metric.labels}
    known: dict[str, Iterable[str]] = {"kind": Mismatch, "class": CLASSES, "method": METHODS, "state": ImageStatus}
    for label, values in known.items():
        assert {str(value) for value in values} <= explained[label], label


NO_METRICS = {"likeness_default"}
"""Names in the documents that are networks or volumes of containers."""


def inline_code() -> list[str]:
    pages = [(DOCUMENT.parent / name).read_text() for name in ("metrics.md", "architecture.md")]
    return [
        code for page in pages for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    ]


def labels_asked_for(query: str, selector: str) -> set[str]:
    grouped = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")]
    return {*grouped, *re.findall(r"(\w+)(?=[=!,]|$)", selector)}


def test_queries_ask_for_what_there_is(metrics: dict[str, Declared]) -> None:
    labels = {metric.name: {*metric.labels, "le"} for metric in metrics.values()}
    asked = [
        (query, name, selector)
        for query in inline_code()
        for name, selector in re.findall(r"\b(likeness_[a-z_]+)(?:\{([^}]*)\})?", query)
        if name not in NO_METRICS
    ]
    assert len(asked) > len(metrics), "or the search finds nothing"
    for query, name, selector in asked:
        known = labels.get(name, labels.get(re.sub(r"_(bucket|sum|count)$", "", name)))
        assert known is not None, query
        assert labels_asked_for(query, selector) <= known, query
