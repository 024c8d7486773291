"""What the person at the terminal sees while the stack starts, runs and stops; plain lines without a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Protocol

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class State(StrEnum):
    """Of one service, as shown."""

    STARTING = "starting"
    READY = "ready"
    DIED = "died"  # and will be started again
    STOPPING = "stopping"
    STOPPED = "stopped"


_STYLES = {State.READY: "green", State.DIED: "bold red"}


class Display(Protocol):
    """Where the supervisor reports."""

    def show(self, service: str, state: State, detail: str = "") -> None:
        """Show that `service` is in `state`; `detail` says what it waits for or died of."""
        ...


class Silent:
    """Shows nothing."""

    def show(self, service: str, state: State, detail: str = "") -> None:
        """Show nothing."""


class TerminalDisplay:
    """One spinning line for each service while the stack starts, a line for each event otherwise.

    A terminal that is gone (its window closed, `make run | head`) is no reason to stop, or not to stop.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._lines: dict[str, TaskID] = {}

    def show(self, service: str, state: State, detail: str = "") -> None:
        """Show that `service` is in `state`."""
        style = _STYLES.get(state, "default")
        text = f"[{style}]{state}[/]" + (f"  [dim]{escape(detail)}[/]" if detail else "")
        if self._progress is None:
            self.say(f"{service:<12} {text}")
            return
        if service not in self._lines:
            self._lines[service] = self._progress.add_task(service, total=1, state="")
        self._progress.update(self._lines[service], state=text, completed=1 if state is State.READY else 0)

    def say(self, message: RenderableType) -> None:
        """Show a message, with rich's markup."""
        with suppress(OSError):
            self._console.print(message, soft_wrap=isinstance(message, str), highlight=False)

    def warn(self, title: str, message: str) -> None:
        """Show a message that is not to be missed."""
        self.say(Panel(message, title=title, border_style="bold yellow", expand=False))

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Show services as spinning lines inside the block, if there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = (
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description:<12}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
        )
        with Progress(*columns, console=self._console) as progress:
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None
