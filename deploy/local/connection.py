"""Tells others on this machine how the running stack is reached (`common/connection_file.py` reads it)."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from common.connection_file import FILE_NAME
from deploy.local.credentials import write_private
from deploy.local.home import Home


@contextmanager
def connection_file(home: Home) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Yield what writes the file. It is gone at the end; one that a killed stack left is gone at the beginning."""
    path = home.path / FILE_NAME
    path.unlink(missing_ok=True)
    try:
        yield lambda variables: write_private(path, json.dumps(dict(variables), indent=2) + "\n")
    finally:
        path.unlink(missing_ok=True)
