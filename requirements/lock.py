"""Lock the dependencies with hashes, for every platform and without any index's address: `make lock`.

All locks agree on versions: `local.txt` is the one that decides, the others are constrained by it. A service has one
of its own, from its own extra alone, so that its image holds nothing it does not need.
"""

import re
import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
COMPILE = [
    *(str(UV), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
    *("--no-annotate", "--no-header", "--python-version", "3.11"),
]
DECIDES = Path("requirements/local.txt")
SERVICES = ("api", "worker", "embedder")
FROM_TORCH = re.compile(r"^(torch|torchvision|triton|nvidia-[\w-]+|cuda-[\w-]+)==", re.MULTILINE)
"""What an index of torch's CPU builds has instead, or what they do not need."""


def lock(output: str, *arguments: str) -> None:
    """Write one lock file."""
    subprocess.run([*COMPILE, *arguments, "-o", f"requirements/{output}"], check=True)  # noqa: S603


def lock_extra(extra: str, output: str, *arguments: str) -> None:
    """Lock the project itself with one of its extras."""
    lock(output, "pyproject.toml", "--extra", extra, *arguments)


lock_extra("local", DECIDES.name, "--group", "build")
agreeing = ("-c", str(DECIDES))
lock_extra("local", "dev.txt", "--group", "dev", *agreeing)
for service in SERVICES:
    lock_extra(service, f"{service}.txt", *agreeing)
without = [f"--no-emit-package={name}" for name in FROM_TORCH.findall(DECIDES.read_text())]
lock_extra("embedder", "embedder-cpu.txt", *agreeing, *without)
lock("build.txt", "--group", "build", *agreeing)
