"""The folder by which several processes behind one port share their metrics, see `common/exposition.py`.

The client library makes files there as soon as a metric is made, which is while modules are imported, and whoever can't
ends with a traceback. So it is looked at first of all, before the settings.
"""

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The client library reads it, too, when it is imported."""

_ALLOWED: Final = "a folder that exists and can be written, or the variable not set at all"


def check_folder() -> None:
    """End the process with status 1 and the problem on stderr, if the folder can't be used."""
    given = os.environ.get(VARIABLE)
    if given is not None and (problem := _problem(given)):
        raise SystemExit(f"Wrong settings:\n  {VARIABLE} (environment): {problem}; allowed: {_ALLOWED}")


def _problem(given: str) -> str:
    if not given:
        return "is empty"
    if not Path(given).is_dir():
        return "there is no such folder"
    return "" if os.access(given, os.R_OK | os.W_OK | os.X_OK) else "the folder can't be written"
