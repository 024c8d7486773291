"""Lock the dependencies with hashes, for every platform and without any index's address: `make lock`."""

import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
COMPILE = [
    *(str(UV), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
    *("--no-annotate", "--no-header", "--python-version", "3.11"),
]


def lock(output: str, *arguments: str) -> None:
    """Write one lock file."""
    subprocess.run([*COMPILE, *arguments, "pyproject.toml", "-o", f"requirements/{output}"], check=True)  # noqa: S603


lock("local.txt", "--extra", "local", "--group", "build")
lock("dev.txt", "--extra", "local", "--group", "dev", "-c", "requirements/local.txt")
