"""The file in which a running local stack says how its services are reached (`<LIKENESS_HOME>/environment.json`).

A flat JSON object of environment variables (`LIKENESS_URL`, `DATABASE__URL`, and whatever else its api and worker are
given), mode 0600 as it holds credentials; it is there while the stack runs.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from common.errors import ConfigurationError

FILE_NAME: Final = "environment.json"
API_URL: Final = "LIKENESS_URL"


def connection_file() -> Path:
    """Return where the file of this environment's local stack is, if one runs."""
    return Path(os.environ.get("LIKENESS_HOME") or ".likeness").expanduser() / FILE_NAME


def find_connection() -> Mapping[str, str]:
    """Return the variables of the local stack; empty where none runs.

    Raises:
        ConfigurationError: the file is there, but not for us to read, or not what it should be.
    """
    path = connection_file()
    try:
        variables = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"can't read {path}: {error}", code="connection_file_unreadable") from error
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ConfigurationError(f"{path} is no flat object of strings", code="connection_file_unreadable")
    return variables


def find_api_url() -> str | None:
    """Return the address of the HTTP API: `LIKENESS_URL`, or the local stack's; None: neither is known."""
    return os.environ.get(API_URL) or find_connection().get(API_URL)
