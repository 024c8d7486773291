"""The files of an import, and how they are packed into requests."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.cli.console import printable

MAX_FILES = 50
MAX_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as it was when it was found; size and time of change tell whether it still is what it was."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def upload_name(self) -> str:
        """Its name without folders, as the server is to know it."""
        return printable(self.path.name)


def find_files(roots: Iterable[Path]) -> list[LocalFile]:
    """Find every regular file at and below the roots, in order of path, each once.

    Hidden files and folders (`.name`) below a root are left out, links to folders are not followed, and a folder that
    can't be read is an `OSError`: an import that silently misses files is worse than none.
    """
    found: dict[Path, LocalFile] = {}
    for root in roots:
        for path in _walk(root.resolve()):
            file = _find_file(path)
            if file is not None:
                found[path] = file
    return sorted(found.values(), key=lambda file: file.path)


def _walk(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _find_file(path: Path) -> LocalFile | None:
    """Describe a regular file; None for pipes, sockets and the like, and for links that lead nowhere."""
    try:
        found = path.stat()
    except OSError:
        return None
    return LocalFile(path, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def pack(files: Iterable[LocalFile]) -> Iterator[Sequence[LocalFile]]:
    """Pack files into requests of at most `MAX_FILES` and, but for a single larger file, `MAX_BYTES`."""
    packed: list[LocalFile] = []
    size = 0
    for file in files:
        if packed and (len(packed) == MAX_FILES or size + file.size > MAX_BYTES):
            yield packed
            packed, size = [], 0
        packed.append(file)
        size += file.size
    if packed:
        yield packed
