"""`make bench`: run the benchmarks, print a table, write `bench-results.json`. Names pick some: `… ingest`."""

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import ingest, near_duplicates

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "ingest": ingest.measure,
    "near_duplicates": near_duplicates.measure,
}
RESULTS = Path("bench-results.json")


def main() -> int:
    """Run what is asked for; 1 if a ratio misses its target."""
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
    RESULTS.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    console.print(_table(results))
    return int(any(result["ratio"] < result["target"] for result in results.values()))


def _table(results: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="Benchmarks")
    for column in ("benchmark", "measured", "value"):
        table.add_column(column)
    for name, result in results.items():
        for key, value in result.items():
            table.add_row(name, key, _shown(value))
    return table


def _shown(value: Any) -> str:
    match value:
        case list():
            return ", ".join(f"{item:.2f}" for item in value)
        case float():
            return f"{value:.3f}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
