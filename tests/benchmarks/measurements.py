"""What benchmarks measure, and what some of it should be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A figure with a target below which it must not fall."""

    value: float
    target: float

    @property
    def met(self) -> bool:
        """Whether it is what it should be."""
        return self.value >= self.target

    def __str__(self) -> str:
        return f"{self.value:.3f} (at least {self.target:g})"


@dataclass(frozen=True, slots=True)
class AtMost:
    """A figure with a target above which it must not rise."""

    value: float
    target: float

    @property
    def met(self) -> bool:
        """Whether it is what it should be."""
        return self.value <= self.target

    def __str__(self) -> str:
        return f"{self.value:.3f} (at most {self.target:g})"


Figure = str | float | Sequence[float] | AtLeast | AtMost
Measurements = Mapping[str, Figure]
