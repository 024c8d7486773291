"""Every check has a finding, whatever happens to those before it."""

import asyncio
from collections.abc import Callable

import pytest

from worker.doctor.examination import Examination, Findings, carry_out
from worker.doctor.findings import Outcome, failed, ok

CHECKS = ("reachable", "credentials", "version")
WELL, FAILED, NOT_CHECKED = Outcome.OK, Outcome.FAILED, Outcome.NOT_CHECKED


async def _well() -> Findings:
    for check in CHECKS:
        yield ok(check, "fine")


async def _refused() -> Findings:
    yield ok("reachable", "fine")
    yield failed("credentials", "wrong", "correct them")


async def _silent() -> Findings:
    yield ok("reachable", "fine")
    await asyncio.Event().wait()


async def _defect() -> Findings:
    yield ok("reachable", "fine")
    raise ZeroDivisionError("hush")


@pytest.mark.parametrize(
    ("findings", "outcomes"),
    [
        (_well, [WELL, WELL, WELL]),
        (_refused, [WELL, FAILED, NOT_CHECKED]),
        (_silent, [WELL, FAILED, NOT_CHECKED]),
        (_defect, [WELL, FAILED, NOT_CHECKED]),
    ],
    ids=["well", "refused", "silent", "defect"],
)
async def test_every_check_has_a_finding(findings: Callable[[], Findings], outcomes: list[Outcome]) -> None:
    found = (await carry_out(Examination("store", "here:1", CHECKS, findings, "STORE__URL"), 0.05)).findings
    assert [finding.check for finding in found] == list(CHECKS)
    assert [finding.outcome for finding in found] == outcomes
    assert all("hush" not in finding.seen for finding in found)
    if outcomes[1] is FAILED:
        assert found[2].seen == "not checked: `credentials` failed"


async def test_silence_names_who_is_silent_and_the_setting() -> None:
    found = (await carry_out(Examination("store", "here:1", CHECKS, _silent, "STORE__URL"), 0.05)).findings
    assert "here:1 does not answer within 0.05 s" in found[1].seen
    assert "STORE__URL" in (found[1].remedy or "")
