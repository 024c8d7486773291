"""`make soak`: steady traffic for `SOAK_MINUTES` (20); writes `soak.png` and `soak-results.json`; 1 if memory grows."""

import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.fixtures.stack import Stack, running_stack
from tests.soak.memory import draw, grown, is_flat, sample
from tests.soak.traffic import Traffic

PICTURE = Path("soak.png")
RESULTS = Path("soak-results.json")
_SAMPLE_EVERY_S = 2.0
_SEED = 0

Curves = dict[str, list[int]]


def main() -> int:
    """Run, draw, judge."""
    seconds = float(os.environ.get("SOAK_MINUTES", "20")) * 60
    console = Console()
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder) / "home", EMBEDDER__MODEL="demo") as stack:
        times, curves, images = _soak(stack, seconds, console)
    draw(curves, times, PICTURE)
    flat = {role: is_flat(curve) for role, curve in curves.items()}
    results = {"seconds": seconds, "images": images, "flat": flat, "times_s": times, "resident_bytes": curves}
    RESULTS.write_text(json.dumps(results) + "\n")
    for role, curve in curves.items():
        verdict = "[green]flat[/]" if flat[role] else "[bold red]grows[/]"
        console.print(f"{role:<16} {curve[-1] / 2**20:6.0f} MiB  {grown(curve) / 2**20:+6.1f} MiB  {verdict}")
    console.print(f"{images:,} images; the curve is in {PICTURE}, the figures are in {RESULTS}")
    return 0 if all(flat.values()) else 1


def _soak(stack: Stack, seconds: float, console: Console) -> tuple[list[float], Curves, int]:
    times: list[float] = []
    curves: Curves = defaultdict(list)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[sent]:,} images"),
    )
    with (
        httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client,
        Progress(*columns, console=console) as shown,
    ):
        traffic = Traffic(client, random.Random(_SEED))
        task = shown.add_task("soak", total=seconds, sent=0)
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            traffic.round()
            shown.update(task, completed=passed, sent=traffic.sent)
            if not times or passed - times[-1] >= _SAMPLE_EVERY_S:
                times.append(passed)
                for role, resident in sample(stack.processes()).items():
                    curves[role].append(resident)
        traffic.settle()
    return times, dict(curves), traffic.sent


if __name__ == "__main__":
    sys.exit(main())
