"""`likeness doctor`: what is wrong with the set-up, and what to do about it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from worker.cli.console import out, print_json, printable, table
from worker.cli.exits import Exit, plain_errors
from worker.cli.options import Json
from worker.doctor.findings import DEPENDENCIES, Diagnosis, Finding, Outcome

_MARKS = {Outcome.OK: "✓", Outcome.WARNING: "!", Outcome.FAILED: "✗", Outcome.NOT_CHECKED: "-"}
_ASCII = {"✓": "+", "✗": "x"}
"""What is printed where the terminal knows no others."""
_COLOURS = {Outcome.WARNING: "yellow", Outcome.FAILED: "red", Outcome.NOT_CHECKED: "dim"}
_WORDS = {
    Outcome.FAILED: "failed",
    Outcome.WARNING: "to look at",
    Outcome.NOT_CHECKED: "not checked",
    Outcome.OK: "fine",
}


@plain_errors()
def doctor(
    only: Annotated[
        list[str] | None, typer.Option(help=f"Examine only this, and again for more: {', '.join(DEPENDENCIES)}.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")] = False,
    as_json: Json = False,
) -> None:
    """Examine settings, PostgreSQL, Redis, S3, Qdrant, embedders, workers, api and disk; say what to do.

    It changes nothing: one object and one key of its own are written and removed again.
    Exit status 1: something failed; that a dependency is down or a setting is wrong is such a finding.
    """
    # The clients of all stores, which no other command needs, would slow them.
    from worker.doctor.doctor import examine  # noqa: PLC0415
    from worker.doctor.settings import read_configuration  # noqa: PLC0415

    unknown = sorted(set(only or ()) - set(DEPENDENCIES))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(DEPENDENCIES)}", param_hint="--only")
    found = asyncio.run(examine(read_configuration(), only or DEPENDENCIES))
    counts = Counter(finding.outcome for diagnosis in found for finding in diagnosis.findings)
    if as_json:
        print_json(_as_data(found, counts))
    else:
        _show(found, counts)
    if counts[Outcome.FAILED] or (strict and counts[Outcome.WARNING]):
        raise typer.Exit(Exit.FOUND)


def _as_data(found: Sequence[Diagnosis], counts: Counter[Outcome]) -> dict[str, object]:
    return {
        "healthy": not counts[Outcome.FAILED],
        "counts": {outcome: counts[outcome] for outcome in Outcome},
        "checks": [
            {
                "dependency": diagnosis.dependency,
                "target": diagnosis.target,
                "check": finding.check,
                "outcome": finding.outcome,
                "seen": finding.seen,
                "remedy": finding.remedy,
            }
            for diagnosis in found
            for finding in diagnosis.findings
        ],
    }


def _show(found: Sequence[Diagnosis], counts: Counter[Outcome]) -> None:
    checks = table("", "check", "seen")
    for diagnosis in found:
        checks.add_section()
        checks.add_row("", diagnosis.dependency, printable(diagnosis.target), style="bold")
        for finding in diagnosis.findings:
            row = (_mark(finding), f"  {finding.check}", printable(finding.seen))
            checks.add_row(*row, style=_COLOURS.get(finding.outcome))
    out.print(checks)
    _show_remedies(found)
    out.print(", ".join(f"{counts[outcome]} {word}" for outcome, word in _WORDS.items() if counts[outcome]) + ".")


def _show_remedies(found: Sequence[Diagnosis]) -> None:
    """Print what to do, outside the table: a command has to be there in one piece to be copied."""
    for diagnosis in found:
        for finding in diagnosis.findings:
            if finding.remedy is not None:
                what = f"{_mark(finding)} {diagnosis.dependency}, {finding.check}: "
                out.print(what, style=_COLOURS.get(finding.outcome), end="", soft_wrap=True)
                out.print(printable(finding.remedy), soft_wrap=True)


def _mark(finding: Finding) -> str:
    mark = _MARKS[finding.outcome]
    return _ASCII.get(mark, mark) if out.options.ascii_only else mark
