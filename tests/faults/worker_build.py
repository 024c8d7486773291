"""The test build of the worker: the real one, with boundaries between its stages and a clock that can be wrong.

FAULTS__ORDERS=FOLDER FAULTS__NUMBER=0 python -m tests.faults.worker_build
"""

import datetime as dt
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Self

import common.vectors.qdrant  # noqa: F401 - else imported when the clock is wrong, and its models know no such datetime
import worker.context as composition
from tests.faults.boundaries import between, clock_file
from worker import operations
from worker.extensions import arrange
from worker.main import main

ORDERS = "FAULTS__ORDERS"
NUMBER = "FAULTS__NUMBER"
CLOCK_SIGNAL = signal.SIGUSR1
_POLL_S = 0.25
"""How often it looks for operations: every test ends with an audit, and would wait for it."""

_right_time = time.time


class Clock:
    """The wall clock as every module of this process sees it, the libraries' included."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._shift_s = 0.0

    def install(self) -> None:
        """Replace the right clock wherever it was imported, and read how wrong to be at each signal."""
        replacements: dict[int, Any] = {id(_right_time): self._time, id(dt.datetime): self._datetime()}
        others = [module for module in sys.modules.values() if module is not sys.modules[__name__]]
        for module in others:
            for name, value in list(vars(module).items()):
                if id(value) in replacements:
                    setattr(module, name, replacements[id(value)])
        signal.signal(CLOCK_SIGNAL, self._jump)

    def _jump(self, *_: object) -> None:
        self._shift_s = float(self._file.read_text())

    def _time(self) -> float:
        return _right_time() + self._shift_s

    def _datetime(self) -> type[dt.datetime]:
        clock = self

        class Shifted(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> Self:
                return super().now(tz) + dt.timedelta(seconds=clock._shift_s)

            @classmethod
            def utcnow(cls) -> Self:
                return cls.now(dt.UTC).replace(tzinfo=None)

        return Shifted


if __name__ == "__main__":
    orders, number = Path(os.environ[ORDERS]), int(os.environ[NUMBER])
    setattr(composition, "arrange", lambda *arguments: between(arrange(*arguments), orders, number))  # noqa: B010
    setattr(operations, "_POLL_S", _POLL_S)  # noqa: B010
    Clock(clock_file(orders, number)).install()
    main()
