"""How one dependency is examined: its checks in order, each of which needs those before it, under one deadline."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from worker.doctor.findings import Diagnosis, Finding, Outcome, failed, not_checked

log = structlog.get_logger(__name__)

Findings = AsyncGenerator[Finding]


@dataclass(frozen=True, slots=True)
class Examination:
    """What there is to check of one dependency."""

    dependency: str
    target: str
    checks: Sequence[str]
    """In order. Where `findings` ends before the last one, the rest is told as not checked."""
    findings: Callable[[], Findings]
    setting: str
    """The variable that says where the dependency is."""


async def carry_out(examination: Examination, deadline_s: float) -> Diagnosis:
    """Examine a dependency; whatever happens, every check has a finding. After `deadline_s` seconds it is given up."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(deadline_s), aclosing(examination.findings()) as findings:
            async for finding in findings:
                found.append(finding)  # noqa: PERF401 - what was found before the deadline counts
    except TimeoutError:
        found.append(_silent(examination, _next(examination, found), deadline_s))
    except Exception as error:
        check = _next(examination, found)
        log.exception("check_defect", dependency=examination.dependency, check=check)
        found.append(failed(check, f"the check itself broke off: {type(error).__name__}", "report this as a defect"))
    return Diagnosis(examination.dependency, examination.target, found + _rest(examination, found))


def _next(examination: Examination, found: Sequence[Finding]) -> str:
    done = {finding.check for finding in found}
    return next((check for check in examination.checks if check not in done), examination.checks[-1])


def _silent(examination: Examination, check: str, deadline_s: float) -> Finding:
    return failed(
        check,
        f"{examination.target} does not answer within {deadline_s:g} s",
        f"Look at its log and its load, and whether {examination.setting} names the right port: whatever is there "
        "takes connections and says nothing. If it is well, look for a firewall in between.",
    )


def _rest(examination: Examination, found: Sequence[Finding]) -> list[Finding]:
    done = {finding.check for finding in found}
    culprits = [finding.check for finding in found if finding.outcome is Outcome.FAILED]
    why = f"`{culprits[-1]}` failed" if culprits else "something before it was not checked"
    return [not_checked(check, why) for check in examination.checks if check not in done]
