"""A service's environment, made in a folder by the very steps of its Dockerfile."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.images.dockerfile import Dockerfile, Instruction, service_file

_SOURCE = Path(__file__).parents[2]
_PYTHON = Path(sys.base_prefix) / "bin" / "python3"
_PLACES = re.compile(r"(?<![\w./-])/(?=(?:opt|app|srv|tmp|models)\b)")
_OWN = re.compile(r"^(PYTHON|VIRTUAL_ENV|COVERAGE|UV_(?!CACHE|INDEX|DEFAULT|EXTRA|HTTP|NATIVE|SYSTEM_CERTS))")


class Unproven(Exception):
    """A step failed, or did not do what it should; the message has its last words."""


class Environment:
    """What an image would hold, below a folder that stands for its root."""

    def __init__(self, service: str, root: Path) -> None:
        self.service = service
        self.root = root
        self.file = Dockerfile(service_file(service))
        self._workdir = root

    def build(self) -> None:
        """Do what the Dockerfile does before its last stage.

        Packages come as hard links to uv's cache where they can, which the last stage would make copies.

        Raises:
            Unproven: a step failed.
        """
        self.root.mkdir(parents=True)
        _shim(self.root / "bin" / "python")
        variables = {name: value for name, value in os.environ.items() if not _OWN.match(name)}
        variables["PATH"] = f"{self.root / 'bin'}:{os.environ['PATH']}"
        for stage in self.file.building:
            variables |= {name: value for name, value in stage.environment.items() if name != "UV_LINK_MODE"}
            for instruction in stage:
                self._do(instruction, variables)
        for place in ("tmp", "srv", "models"):
            (self.root / place).mkdir(exist_ok=True)

    def variables(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return all that a container's processes would find in their environment, these settings included."""
        image = {name: self.inside(value) for name, value in self.file.final.environment.items()}
        image["PATH"] = image["PATH"].replace("$PATH", "/usr/bin:/bin")
        return image | {"TMPDIR": str(self.root / "tmp")} | dict(settings)

    def run(self, command: list[str], settings: Mapping[str, str]) -> str:
        """Run a command of this machine's in the container's environment and an empty folder; return what it printed.

        Raises:
            Unproven: it failed.
        """
        what = f"{self.service}: {' '.join(command)}"
        return _run([self.program(command[0]), *command[1:]], self.variables(settings), self.root / "srv", what)

    def program(self, name: str) -> str:
        """Return the path of a program that the image's `PATH` leads to."""
        return str(self.root / "opt" / "venv" / "bin" / name)

    def inside(self, text: str) -> str:
        """Return a text with the container's paths below the folder."""
        return _PLACES.sub(f"{self.root}/", text)

    def files(self) -> set[Path]:
        """Return all files of what is read-only in a container."""
        return {path for place in ("opt", "app", "srv") for path in (self.root / place).rglob("*")}

    def _do(self, instruction: Instruction, variables: Mapping[str, str]) -> None:
        match instruction.name:
            case "WORKDIR":
                self._workdir = Path(self.inside(instruction.value))
                self._workdir.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = instruction.words
                for source in sources:
                    _copy(_SOURCE / source, self._workdir / target, into=target.endswith("/") and source[-1] != "/")
            case "RUN":
                command = self.inside(re.sub(r"--mount=\S+\s+", "", instruction.value))
                _run(["sh", "-euc", command], variables, self._workdir, f"{self.service}: {instruction.value}")
            case "ENV":
                pass
            case _:
                raise Unproven(f"{self.service}: no idea what to do about {instruction.name} while building")


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    target = target / source.name if into or target.is_dir() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _shim(path: Path) -> None:
    """What the base image calls `python`. A script: a link would take this folder for Python's own."""
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{_PYTHON}" "$@"\n')
    path.chmod(0o755)


def _run(command: list[str], variables: Mapping[str, str], folder: Path, what: str) -> str:
    done = subprocess.run(command, env=dict(variables), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unproven(f"{what} ended with {done.returncode}\n{(done.stdout + done.stderr)[-3000:].strip()}")
    return done.stdout
