"""When a process that died is started again: a pure decision."""

from dataclasses import dataclass

MAX_DEATHS = 4
STABLE_S = 30.0
_FIRST_DELAY_S = 0.5


@dataclass
class RestartPolicy:
    """Counts deaths in a row; a process that stayed ready for `stable_s` starts with a clean record."""

    max_deaths: int = MAX_DEATHS
    stable_s: float = STABLE_S
    first_delay_s: float = _FIRST_DELAY_S
    deaths: int = 0

    def delay_after_death(self, ready_s: float) -> float | None:
        """Return how many seconds to wait before the next start, or None to give up.

        Args:
            ready_s: how long the process was ready before it died; 0 when it never was.
        """
        self.deaths = 1 if ready_s >= self.stable_s else self.deaths + 1
        if self.deaths >= self.max_deaths:
            return None
        return self.first_delay_s * 2.0 ** (self.deaths - 1)
