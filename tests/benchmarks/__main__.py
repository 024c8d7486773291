"""`make bench`: run the benchmarks, print a table, write `bench-results.json`. Names pick some: `… ingest`."""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import ingest, near_duplicates, recall, search, tracing
from tests.benchmarks.measurements import AtLeast, AtMost, Figure, Measurements

BENCHMARKS: Mapping[str, Callable[[], Measurements]] = {
    "ingest": ingest.measure,
    "near_duplicates": near_duplicates.measure,
    "recall": recall.measure,
    "search": search.measure,
    "tracing": tracing.measure,
}
RESULTS = Path("bench-results.json")


def main() -> int:
    """Run what is asked for; 1 if a figure misses its target."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    console = Console()
    results = {}
    for name in names:
        with console.status(f"{name} …"):
            results[name] = BENCHMARKS[name]()
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    RESULTS.write_text(json.dumps({"machine": machine, "results": results}, indent=2, default=_as_json) + "\n")
    console.print(_table(results))
    figures = [figure for result in results.values() for figure in result.values()]
    return int(any(isinstance(figure, AtLeast | AtMost) and not figure.met for figure in figures))


def _as_json(figure: Any) -> Any:
    return {**asdict(figure), "met": figure.met}


def _table(results: Mapping[str, Measurements]) -> Table:
    table = Table(title="Benchmarks")
    for column in ("benchmark", "measured", "value"):
        table.add_column(column)
    for name, result in results.items():
        for key, figure in result.items():
            missed = isinstance(figure, AtLeast | AtMost) and not figure.met
            table.add_row(name, key, _shown(figure), style="red" if missed else None)
    return table


def _shown(figure: Figure) -> str:
    match figure:
        case list():
            return ", ".join(f"{item:.2f}" for item in figure)
        case float():
            return f"{figure:.3f}"
    return str(figure)


if __name__ == "__main__":
    sys.exit(main())
