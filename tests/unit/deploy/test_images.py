"""What the Dockerfiles, the locks and the code say of each other."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.images.compose import read_services
from tests.images.dockerfile import SERVICES, Dockerfile, service_file

_ROOT = Path(__file__).parents[3]
_LOCKS = _ROOT / "requirements"
_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
_PINNED = re.compile(r"python:\d+\.\d+\.\d+-slim-\w+")


def _versions(lock: str) -> dict[str, str]:
    """Return the packages of a lock."""
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", (_LOCKS / f"{lock}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_slim_pinned_and_nobodys(service: str) -> None:
    file = Dockerfile(service_file(service))
    (base,) = {stage.base for stage in (file.building[0], file.final)}
    assert _PINNED.fullmatch(base)
    user, group = file.final.only("USER").value.split(":")
    assert int(user) == int(group) > 0
    assert "apt-get" not in service_file(service).read_text()
    taken = [each.words for each in file.final if each.name == "COPY"]
    assert taken == [["/opt/venv", "/opt/venv"], ["/app", "/app"]]  # without uv; paths are written into both


@pytest.mark.parametrize("service", SERVICES)
def test_pythons_own_modules_are_compiled_too(service: str) -> None:
    """The base image brings them without bytecode, and a read-only container would compile them at every start."""
    final = Dockerfile(service_file(service)).final
    assert final.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    compiling = [each.value for each in final if each.name == "RUN" and "compileall" in each.value]
    assert ['get_path("stdlib")' in step for step in compiling] == [True]


@pytest.mark.parametrize("service", SERVICES)
def test_port_health_check_and_command_are_those_of_the_service(service: str) -> None:
    final = Dockerfile(service_file(service)).final
    port = final.only("EXPOSE").value
    assert [value for name, value in final.environment.items() if name.endswith("PORT")] == [port]
    assert [value for name, value in final.environment.items() if name.endswith("HOST")] == ["0.0.0.0"]  # noqa: S104
    assert final.only("HEALTHCHECK").command == ["python", "/app/healthcheck.py", port, "/health"]
    *python, module = final.only("CMD").command
    assert python == ["python", "-m"]
    assert find_spec(module)


def test_the_embedder_that_is_built_by_default_is_the_one_that_is_proven() -> None:
    by_default = Dockerfile(service_file("embedder")).building
    assert [stage.name for stage in by_default] == ["build", "dependencies-cuda", "project"]
    assert read_services()["embedder"]["build"]["args"] == {"TORCH": "${EMBEDDER_TORCH:-cuda}"}


@pytest.mark.parametrize("arguments", [{"TORCH": "cpu"}, {"TORCH": "cuda"}], ids=lambda given: given["TORCH"])
@pytest.mark.parametrize("service", SERVICES)
def test_dependencies_come_before_code_and_all_of_it_may_be_sent(service: str, arguments: dict[str, str]) -> None:
    building = [each for stage in Dockerfile(service_file(service), arguments).building for each in stage]
    copied = [word.rstrip("/") for each in building if each.name == "COPY" for word in each.words[:-1]]
    installed = next(n for n, each in enumerate(building) if f"requirements/{service}.txt" in each.value)
    code = next(n for n, each in enumerate(building) if each.name == "COPY" and f"{service}/" in each.words)
    assert installed < code
    comment, first, *patterns = (_ROOT / ".dockerignore").read_text().splitlines()
    assert (comment[0], first) == ("#", "*")  # .env and data stay here
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for path in copied:
        assert (_ROOT / path).exists()
        assert any(Path(path).match(pattern) for pattern in allowed)


@pytest.mark.parametrize("service", SERVICES)
def test_a_lock_has_what_its_service_asks_for_in_the_versions_of_all(service: str) -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"][service]]
    locked, everywhere = _versions(service), _versions("local")
    assert {re.split(r"[\[<>=]", each)[0] for each in asked} <= locked.keys()
    assert locked.items() <= everywhere.items()


@pytest.mark.parametrize("service", ["api", "worker"])
def test_torch_is_the_embedders_alone(service: str) -> None:
    assert not [name for name in _versions(service) if _TORCH.fullmatch(name) or name == "qdrant-edge-py"]


def test_the_cpu_lock_is_the_embedders_but_for_torch() -> None:
    locked = _versions("embedder")
    assert _versions("embedder-cpu") == {n: version for n, version in locked.items() if not _TORCH.fullmatch(n)}
    assert {"torch", "torchvision"} <= locked.keys()


@pytest.mark.parametrize("lock", sorted(path.stem for path in _LOCKS.glob("*.txt")))
def test_no_lock_names_an_index(lock: str) -> None:
    text = (_LOCKS / f"{lock}.txt").read_text()
    assert "://" not in text
    assert "index" not in text.replace("--hash", "")
    packages = len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE))
    assert text.count("--hash=sha256:") >= packages > 0
