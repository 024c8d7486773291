"""What the person at the terminal sees of an import."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.cli.console import notes, out, print_json, printable, say, table
from worker.cli.importer import NotAccepted, Score

_ROWS_SHOWN = 50


class ImportDisplay:
    """A context with a progress bar for sending and, once it begins, one for waiting."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._progress = Progress(
            TextColumn("{task.description:>10}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=notes,
        )
        self._sending = self._progress.add_task("Sending", total=None, note="")
        self._waiting = self._progress.add_task("Searchable", total=None, note="", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def refresh(self) -> None:
        """Show the score as it is now."""
        score = self._score
        rejected = f"{len(score.rejected):,} rejected" if score.rejected else ""
        self._progress.update(self._sending, total=score.found, completed=score.answered, note=rejected)
        if score.states:
            failed = f"{len(score.failed):,} failed" if score.failed else ""
            self._progress.update(
                self._waiting, visible=True, total=len(score.images), completed=score.settled, note=failed
            )

    def pause(self, reason: str, seconds: float) -> None:
        """Show that the API keeps us waiting."""
        self._progress.update(self._sending, note=f"again in {seconds:.0f} s: {reason}")


def print_summary(score: Score, journal: Path, *, waited: bool, as_json: bool) -> None:
    """Print how the import went; `waited`: whether `score.failed` tells anything."""
    if as_json:
        data = {
            "found": score.found,
            "skipped": score.skipped,
            "accepted": score.accepted,
            "duplicates": score.duplicates,
            "rejected": _as_data(score.rejected),
            "failed": _as_data(score.failed) if waited else None,
            "journal": printable(str(journal)),
        }
        print_json(data)
        return
    out.print(
        f"{score.found:,} files: {score.accepted:,} accepted, {score.duplicates:,} there already, "
        f"{score.skipped:,} sent by an earlier run, {len(score.rejected):,} rejected.",
        soft_wrap=True,
    )
    _print_files("Rejected", score.rejected)
    if waited:
        out.print(f"{score.settled - len(score.failed):,} images are searchable, {len(score.failed):,} failed.")
        _print_files("Failed", score.failed)


def _as_data(files: Sequence[NotAccepted]) -> list[dict[str, object]]:
    return [{**asdict(file), "path": printable(str(file.path))} for file in files]


def _print_files(title: str, files: Sequence[NotAccepted]) -> None:
    if not files:
        return
    shown = table("file", "code", "why", title=title)
    for file in files[:_ROWS_SHOWN]:
        shown.add_row(printable(str(file.path)), file.code, printable(file.detail))
    out.print(shown)
    if len(files) > _ROWS_SHOWN:
        say(f"… and {len(files) - _ROWS_SHOWN:,} more; --json lists all.")
