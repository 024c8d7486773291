"""The data folder: everything the local stack keeps, and nothing outside it."""

import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path

from deploy.local.credentials import Credentials, load_or_create
from deploy.local.errors import HomeUnusable

# A new PostgreSQL cluster takes 40 MB and keeps up to 1 GB of write-ahead log.
MIN_FREE_BYTES = 1_000_000_000


class Home:
    """One data folder, private to its owner.

    Raises:
        HomeUnusable: it can't be created or written, is another user's, or its disk is nearly full; the message says
            what to do.
    """

    def __init__(self, path: Path, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        if "," in str(path.absolute()):
            raise HomeUnusable(f"the data folder {path} has a comma in its path, which SeaweedFS takes for two folders")
        try:
            self.path = path.expanduser().absolute()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs = self.path / "logs"
            self.logs.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except (OSError, RuntimeError) as error:
            raise HomeUnusable(
                f"the data folder {path} can't be used ({error}): make it a folder that you can write, "
                "or choose another one, e.g. LIKENESS_HOME=~/likeness make run"
            ) from error
        self._check_owner()
        self._check_space(min_free_bytes)

    @property
    def lock_file(self) -> Path:
        """Locked while a stack runs here; holds its pid and URL."""
        return self.path / "lock"

    @property
    def guards_lock_file(self) -> Path:
        """Locked while any guarded process of a stack lives here, even after the supervisor was killed."""
        return self.path / "guards.lock"

    @cached_property
    def credentials(self) -> Credentials:
        """The stores' credentials, made at the first use. Call it under the lock."""
        return load_or_create(self.path / "credentials.json")

    def folder(self, name: str) -> Path:
        """Return a private folder of that name, created when missing."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _check_owner(self) -> None:
        """Root could write anywhere, but what it writes its owner could not use afterwards."""
        if self.path.stat().st_uid != os.geteuid():
            raise HomeUnusable(
                f"the data folder {self.path} belongs to another user: run this as that user, "
                "or choose another folder with LIKENESS_HOME"
            )

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise HomeUnusable(
                f"only {free / 1e6:.0f} MB are free for the data folder {self.path}, {needed / 1e6:.0f} MB are needed: "
                "make room, or choose a folder on another disk with LIKENESS_HOME"
            )


def home_path() -> Path:
    """Return the data folder the environment asks for: `LIKENESS_HOME`, or `.likeness` in the working directory."""
    return Path(os.environ.get("LIKENESS_HOME") or ".likeness")
