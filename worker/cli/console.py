"""Where the commands write: results to standard output, everything else (notes, progress, questions) to standard error.

Nothing that comes from files or the database is taken for Rich markup.
"""

from typing import Any, Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

out: Final = Console(markup=False, highlight=False)
notes: Final = Console(markup=False, highlight=False, stderr=True)


def say(message: str) -> None:
    """Tell the person at the terminal something that is no result; one line stays one line."""
    notes.print(message, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print a result for machines: dataclasses, UUIDs, times and the like are welcome."""
    out.print(to_json(data, indent=2).decode(), soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """Return a table that folds what is too wide instead of cutting it off."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def printable(text: str) -> str:
    """Make a file name safe for a terminal and for UTF-8: no control characters, no undecodable bytes."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
