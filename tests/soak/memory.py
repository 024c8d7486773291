"""Resident memory of a stack's own processes over time, the verdict on it, and its picture."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from matplotlib.figure import Figure

ROLES: Mapping[str, str] = {
    "deploy.local.app": "api and worker",
    "embedder": "embedder",
    "worker.decode_child": "decode children",
}
"""The module a process runs, and what it is called here. The stores' memory is their own business."""

_MIB = 2**20
_ALLOWED_GROWTH = 0.05
_ALLOWED_BYTES = 16 * _MIB


def sample(processes: Iterable[psutil.Process]) -> dict[str, int]:
    """Return resident bytes by role; processes of one role are added up."""
    resident = dict.fromkeys(ROLES.values(), 0)
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # decode children come and go
            role = _role(process.cmdline())
            if role is not None:
                resident[role] += process.memory_info().rss
    return resident


def _role(command: Sequence[str]) -> str | None:
    # A guard's command line holds that of the service it guards, so the first module counts.
    modules = [after for option, after in itertools.pairwise(command) if option == "-m"]
    return ROLES.get(modules[0]) if modules else None


def grown(curve: Sequence[int]) -> int:
    """Return by how many bytes the last third of a curve lies above the second; the first is the warm-up."""
    third = len(curve) // 3
    return round(statistics.median(curve[-third:]) - statistics.median(curve[third : 2 * third]))


def is_flat(curve: Sequence[int]) -> bool:
    """Tell whether memory stopped growing after the warm-up."""
    third = len(curve) // 3
    before = statistics.median(curve[third : 2 * third])
    return grown(curve) <= max(_ALLOWED_GROWTH * before, _ALLOWED_BYTES)


def draw(curves: Mapping[str, Sequence[int]], times_s: Sequence[float], path: Path) -> None:
    """Draw one line per role: MiB over minutes."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    minutes = [time / 60 for time in times_s]
    for role, curve in curves.items():
        axes.plot(minutes, [value / _MIB for value in curve], label=f"{role} ({grown(curve) / _MIB:+.0f} MiB)")
    axes.axvspan(0, minutes[len(minutes) // 3], color="0.93", label="warm-up")
    axes.set(xlabel="minutes", ylabel="resident memory, MiB", title="Memory under steady traffic")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(curves) + 1)
    figure.savefig(path, dpi=110)
