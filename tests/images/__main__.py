"""Prove the Dockerfiles without a container engine: `make images-proof`.

For each service the steps of its Dockerfile are done in a folder of their own: what it depends on comes from its own
lock, its code is installed and compiled. Then every module has to be importable there, the jobs and services of
`compose.yaml` run in these environments on real stores, and a picture is uploaded and found. What is not done are the
steps that take a container: the user, and the copies of the last stage. The embedder is proven as it is built by
default, with the package index's torch (`TORCH=cuda`); torch's own index of CPU builds is elsewhere.
"""

import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fixtures.stores import running_stores
from tests.images.dockerfile import SERVICES
from tests.images.environment import Environment, Unproven
from tests.images.running import prove

_NOT_IN_IMAGES = (
    "common.vectors.edge",  # the embedded vector index, of the local stack alone
    "common.vectors.edge_shard",
    "embedder.demo.train",  # of developers
)
_BEGUN = time.monotonic()


def main() -> int:
    """Return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves nothing behind either
    with tempfile.TemporaryDirectory(prefix="likeness-images-") as name:
        folder = Path(name)
        try:
            environments = {service: _build(service, folder / service) for service in SERVICES}
            with running_stores(folder / "stores") as stores:
                prove(environments, stores, folder, _say)
        except Unproven as error:
            _say(f"UNPROVEN: {error}")
            return 1
    _say("proven")
    return 0


def _build(service: str, folder: Path) -> Environment:
    environment = Environment(service, folder)
    environment.build()
    script = str(Path(__file__).with_name("imports.py"))
    environment.run(["python", script, str(folder / "app"), *_NOT_IN_IMAGES], {})
    python = f"Python {platform.python_version()} in place of {environment.file.final.base}"
    _say(f"{service}: installed from its lock, and every module is importable ({python})")
    return environment


def _say(message: str) -> None:
    print(f"{time.monotonic() - _BEGUN:6.1f} s  {message}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
