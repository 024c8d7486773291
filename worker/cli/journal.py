"""What an import remembers: which files the server has accepted, so that the next run need not send them again.

One JSON object a line, appended when the answer has come; a line torn by a crash is passed over, and its file is
sent again, which is safe. Which server and folder the lines are about is the file's name, not its content.
"""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from worker.cli.files import LocalFile


def default_path(server: str, folder: UUID | None) -> Path:
    """Return where the journal of imports to that folder of that server is kept: in the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    key = hashlib.sha256(f"{server}\n{folder or ''}".encode()).hexdigest()[:16]
    return Path(state) / "likeness" / "imports" / f"{key}.jsonl"


class Journal:
    """A context; what is noted is on its way to the disk at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[int, int, UUID]] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab+")
        self._file.seek(0)
        content = self._file.read()
        for line in content.splitlines():
            self._remember(line)
        if content and not content.endswith(b"\n"):
            self._file.write(b"\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, file: LocalFile) -> UUID | None:
        """Return the image that the file became, unless it has changed since."""
        size, mtime_ns, image_id = self._known.get(str(file.path), (-1, -1, None))
        return image_id if (size, mtime_ns) == (file.size, file.mtime_ns) else None

    def note(self, file: LocalFile, sha256: str, image_id: UUID) -> None:
        """Note that the file, as it was found, became this image."""
        line = {
            "path": str(file.path),
            "size": file.size,
            "mtime_ns": file.mtime_ns,
            "sha256": sha256,
            "id": str(image_id),
        }
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        self._known[str(file.path)] = (file.size, file.mtime_ns, image_id)

    def _remember(self, line: bytes) -> None:
        try:
            noted: dict[str, Any] = json.loads(line)
            self._known[noted["path"]] = (noted["size"], noted["mtime_ns"], UUID(noted["id"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return
