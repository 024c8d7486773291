"""What the documents name is there: documents, targets of make, and what `docs/operations.md` says to containers."""

import re
from pathlib import Path

import pytest
import yaml

from deploy.docker import make_secrets
from tests.images.compose import FILE, read_services

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
OPERATIONS = (ROOT / "docs/operations.md").read_text()
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
MAKE = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_made_can_be_made(document: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    assert set(MAKE.findall(document.read_text())) <= targets


def test_the_containers_of_operations_are_in_compose() -> None:
    commands = re.findall(r"docker compose (?:exec|stop|run|create|logs)(?: -\S+)* ((?:[a-z]+ ?)+)", OPERATIONS)
    addressed = {words.split()[0] for words in commands} | {"api"}
    assert {"postgres", "worker"} <= addressed
    assert addressed <= read_services().keys()


def test_the_network_and_variables_of_operations_are_those_of_compose(tmp_path: Path) -> None:
    make_secrets.write(tmp_path / ".env")
    given = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if re.match("[A-Z]", line))
    networks = {f"{given['COMPOSE_PROJECT_NAME']}_{name}" for name in yaml.safe_load(FILE.read_text())["networks"]}
    assert set(re.findall(r"--network (\w+)", OPERATIONS)) == {"likeness_stores"} <= networks
    assert set(re.findall(r"=\$([A-Z0-9_]+)", OPERATIONS)) <= given.keys()
    (endpoint,) = set(re.findall(r"ENDPOINT=(\S+)", OPERATIONS))
    assert endpoint in FILE.read_text()


def test_operations_leave_nothing_in_the_shell_that_overrules_the_file() -> None:
    """Compose believes an exported variable rather than `.env`, which the next step of a document may change."""
    exported = re.findall(r"(?:^|[ ])([A-Z0-9_]+)=\S+", "\n".join(re.findall(r"^export .*$", OPERATIONS, re.MULTILINE)))
    assert exported
    assert [name for name in exported if f"${{{name}" in FILE.read_text()] == []
    assert not re.search(r"\bset -a\b|allexport", OPERATIONS)
