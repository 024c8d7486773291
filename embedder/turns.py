"""Who is next: work that somebody waits for overtakes bulk work, but not for ever."""

import threading
from collections import deque
from typing import Generic, TypeVar

Job = TypeVar("Job")

_OVERTAKES = 4
"""Urgent jobs that may go before a waiting patient one: bulk work gets a fifth of the turns, whatever else is asked."""


class TurnQueue(Generic[Job]):
    """A queue between threads with two lines, the urgent and the patient one; each is first come, first served."""

    def __init__(self) -> None:
        self._urgent: deque[Job] = deque()
        self._patient: deque[Job] = deque()
        self._overtakes = 0
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job, *, urgent: bool) -> None:
        """Add a job to its line."""
        with self._changed:
            (self._urgent if urgent else self._patient).append(job)
            self._changed.notify()

    def close(self) -> None:
        """Have `get` return None once both lines are empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def get(self) -> Job | None:
        """Take the next job; waits for one. None: there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._patient or self._closed)
            if not self._urgent and not self._patient:
                return None
            if self._urgent and not (self._patient and self._overtakes >= _OVERTAKES):
                self._overtakes = self._overtakes + 1 if self._patient else 0
                return self._urgent.popleft()
            self._overtakes = 0
            return self._patient.popleft()
