"""What the doctor says: one finding for each check, with what was seen and, where something is wrong, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEPENDENCIES: Final = ("postgresql", "redis", "s3", "qdrant", "embedder", "workers", "api", "disk")
"""What there is to examine."""


class Outcome(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """It works, but somebody should look."""
    FAILED = "failed"
    NOT_CHECKED = "not_checked"
    """Another check has to come out well first; `seen` says which."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; neither text holds a secret."""

    check: str
    outcome: Outcome
    seen: str
    remedy: str | None = None
    """What to do about it; a command where there is one."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found of one dependency."""

    dependency: str
    target: str
    """Where it is, without user name and password."""
    findings: Sequence[Finding]


def ok(check: str, seen: str) -> Finding:
    """Return the finding of a check that came out well."""
    return Finding(check, Outcome.OK, seen)


def warning(check: str, seen: str, remedy: str) -> Finding:
    """Return the finding that something works, but should be looked at."""
    return Finding(check, Outcome.WARNING, seen, remedy)


def failed(check: str, seen: str, remedy: str) -> Finding:
    """Return the finding that something does not work."""
    return Finding(check, Outcome.FAILED, seen, remedy)


def not_checked(check: str, why: str) -> Finding:
    """Return the finding that nothing can be said."""
    return Finding(check, Outcome.NOT_CHECKED, f"not checked: {why}")


def is_failure(finding: Finding) -> bool:
    """Tell whether a finding is a failure."""
    return finding.outcome is Outcome.FAILED
