"""What `compose.yaml` says; run as a program, what Docker Compose says to it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.docker import make_secrets

FILE = Path(__file__).parents[2] / "compose.yaml"
OURS = ("api", "worker", "embedder", "embedder-gpu", "bootstrap", "migrate", "collections")
"""The services that run our images."""

_PROFILES = ("minio,cpu", "seaweedfs,gpu", "cpu")


def read_services() -> dict[str, Any]:
    """Return the services, variables in their values as they are written."""
    services: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return services


def main() -> int:
    """Have every Docker Compose that is installed read the file, and say what was done; return the exit status."""
    installed = list(_installed())
    if not installed:
        print("Docker Compose is not installed: compose.yaml was held against the schema alone.")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        secrets = Path(folder) / ".env"
        make_secrets.write(secrets)
        for command in installed:
            for profiles in _PROFILES:
                arguments = ["--env-file", str(secrets), "--file", str(FILE), "config", "--quiet"]
                done = subprocess.run(
                    [*command, *arguments], env={**os.environ, "COMPOSE_PROFILES": profiles}, check=False
                )
                print(f"{' '.join(command)} config, profiles {profiles}: {done.returncode}", flush=True)  # noqa: T201
                if done.returncode != 0:
                    return 1
    return 0


def _installed() -> Iterator[list[str]]:
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            yield plugin
    if shutil.which("docker-compose"):
        yield ["docker-compose"]


if __name__ == "__main__":
    sys.exit(main())
