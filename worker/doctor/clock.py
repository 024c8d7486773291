"""How far another machine's clock is from this one's."""

from datetime import UTC, datetime, timedelta

from worker.doctor.findings import Finding, failed, ok, warning

CLOCK = "clock"

SIGNATURES_HOLD = timedelta(minutes=15)
"""By how much clocks may differ for an S3 server to take a signature."""

_REMEDY = "Turn time synchronisation on, on both machines: `timedatectl set-ntp true`, and look at `timedatectl`."


def judge_clock(theirs: datetime, sent: datetime, answered: datetime, most: timedelta, limit: timedelta) -> Finding:
    """Judge another clock.

    Args:
        theirs: what it said.
        sent: when it was asked, by ours.
        answered: when the answer was here, by ours; a difference that the way may account for is none.
        most: the greatest difference that is fine.
        limit: the greatest difference with which things work.
    """
    early, late = max(sent - theirs, timedelta()), max(theirs - answered, timedelta())
    skew = early or late
    seen = f"{skew.total_seconds():.1f} s {'behind' if early else 'ahead of'} this machine's" if skew else "as ours"
    if skew > limit:
        return failed(CLOCK, seen, _REMEDY)
    if skew > most:
        return warning(CLOCK, seen, _REMEDY)
    return ok(CLOCK, seen if skew > timedelta(seconds=1) else "within a second of this machine's")


def now() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.now(UTC)
