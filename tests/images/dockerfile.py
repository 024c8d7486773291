"""Dockerfiles, as far as ours go: stages of instructions."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy" / "docker"
SERVICES = ("api", "worker", "embedder")


@dataclass(frozen=True)
class Instruction:
    """One instruction, continued lines joined: `RUN`, and what to run."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The words behind the instruction, its flags left out."""
        return [word for word in self.value.split() if not word.startswith("--")]

    @property
    def command(self) -> list[str]:
        """The program and its arguments, of an instruction that lists them in JSON."""
        words: list[str] = json.loads(self.value[self.value.index("[") :])
        return words


@dataclass(frozen=True)
class Stage:
    """One stage of a Dockerfile, and what it is built on: an image or an earlier stage."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.instructions)

    def only(self, name: str) -> Instruction:
        """Return the only instruction of this name."""
        (found,) = (each for each in self if each.name == name)
        return found

    @property
    def environment(self) -> dict[str, str]:
        """What `ENV` sets, as it is written."""
        pairs = (word.split("=", 1) for each in self if each.name == "ENV" for word in each.words)
        return dict(pairs)


class Dockerfile:
    """A service's Dockerfile, with its build arguments."""

    def __init__(self, path: Path, arguments: Mapping[str, str] | None = None) -> None:
        self.stages: list[Stage] = []
        known = dict(arguments or {})
        for each in _instructions(path.read_text()):
            if each.name == "ARG":
                name, _, value = each.value.partition("=")
                known.setdefault(name, value)
            elif each.name == "FROM":
                base, *named = re.sub(r"\$\{(\w+)\}", lambda match: known[match[1]], each.value).split()
                self.stages.append(Stage(base, named[-1] if named else ""))
            else:
                self.stages[-1].instructions.append(each)

    @property
    def final(self) -> Stage:
        """The stage that becomes the image."""
        return self.stages[-1]

    @property
    def building(self) -> list[Stage]:
        """The stages that the image copies from, in the order in which they are built."""
        (source,) = {match[1] for each in self.final if (match := re.search(r"--from=(\w+)", each.value)) is not None}
        by_name = {stage.name: stage for stage in self.stages}
        chain = [by_name[source]]
        while (base := chain[0].base) in by_name:
            chain.insert(0, by_name[base])
        return chain


def service_file(service: str) -> Path:
    """Return a service's Dockerfile."""
    return FOLDER / f"{service}.Dockerfile"


def _instructions(text: str) -> Iterator[Instruction]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            name, _, value = line.strip().partition(" ")
            yield Instruction(name, value.strip())
